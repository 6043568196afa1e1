# Batch, group, instance, layer and local response norm.

cdef extern from "cnnfast.h" nogil:
    enum: cnf_id_norm_forward, cnf_id_norm_backward, cnf_id_norm_evaluate
    enum: cnf_id_norm_evaluate_backward
    ctypedef struct cnf_norm:
        int64_t segments, rows, c, groups, x_pitch, y_pitch, dy_pitch
        double eps, momentum
    enum: cnf_id_layer_norm_forward, cnf_id_layer_norm_backward
    ctypedef struct cnf_layer_norm:
        int64_t rows, c, x_pitch, y_pitch, dy_pitch
        double eps
    enum: cnf_id_local_norm_forward, cnf_id_local_norm_backward
    ctypedef struct cnf_local_norm:
        int64_t rows, c, x_pitch, y_pitch, dy_pitch, size
        float alpha, beta, k


cdef int fill_norm(cnf_norm *d, cnp.ndarray y, cnp.ndarray x, cnp.ndarray dy, bint per_sample,
                   int64_t groups, double eps) except -1:
    """Geometry of a norm of images x, y (None: not wanted) and dy (None: forward)."""
    cdef Image image, other
    as_image(x, &image, "x")
    d.segments, d.rows, d.c = (image.n if per_sample else 1), image.h * image.w, image.c
    if not per_sample:
        d.rows *= image.n
    if groups < 1 or image.c % groups != 0:
        raise ValueError(f"groups: expected a divisor of the {image.c} channels, got {groups}")
    d.groups, d.eps, d.momentum = groups, eps, 0
    d.x_pitch = d.y_pitch = d.dy_pitch = image.pitch
    if y is not None:
        as_image(y, &other, "y", written=True)
        expect_same_image(&other, &image, "y")
        d.y_pitch = other.pitch
    if dy is not None:
        as_image(dy, &other, "dy")
        expect_same_image(&other, &image, "dy")
        d.dy_pitch = other.pitch
    return 0


cdef int expect_same_image(Image *image, Image *wanted, str name) except -1:
    if (image.n, image.c, image.h, image.w) != (wanted.n, wanted.c, wanted.h, wanted.w):
        raise ValueError(f"{name}: expected shape {(wanted.n, wanted.c, wanted.h, wanted.w)}, "
                         f"got {(image.n, image.c, image.h, image.w)}")
    return 0


cdef int expect_vectors(int64_t count, str names, tuple arrays, bint written=False) except -1:
    """Check that each array is absent or dense float32 with `count` elements."""
    for name, array in zip(names.split(), arrays):
        if array is not None:
            expect_dense(array, cnp.NPY_FLOAT32, count, name, written)
    return 0


def norm_forward(cnp.ndarray y not None, cnp.ndarray mean not None, cnp.ndarray invstd not None,
                 cnp.ndarray running_mean, cnp.ndarray running_var, cnp.ndarray x not None,
                 cnp.ndarray weight, cnp.ndarray bias, bint per_sample, int64_t groups,
                 double momentum, double eps, cnp.ndarray sums=None):
    """Normalise image x by its own statistics: batch norm, or per_sample group and instance norm.

    mean and invstd (samples or 1, groups) keep them; the running ones (C) are blended in place.
    `sums`, float64 (2, C), are those of x and of x^2 a channel, which `conv2d_forward` and
    `depthwise_forward` can take: batch norm then reads x once less.
    """
    cdef cnf_norm d
    fill_norm(&d, y, x, None, per_sample, groups, eps)
    d.momentum = momentum
    expect_vectors(d.segments * groups, "mean invstd", (mean, invstd), written=True)
    expect_vectors(d.c, "running_mean running_var", (running_mean, running_var), written=True)
    expect_vectors(d.c, "weight bias", (weight, bias))
    if groups != d.c and not (running_mean is None and running_var is None):
        raise ValueError("running statistics need groups of one channel")
    if sums is not None:
        if per_sample:
            raise ValueError("sums: they are of the whole batch, so expected none with per_sample")
        expect_dense(sums, cnp.NPY_FLOAT64, 2 * d.c, "sums")
    issue(cnf_id_norm_forward,
          (y, mean, invstd, running_mean, running_var, x, weight, bias, sums), &d)


def norm_backward(cnp.ndarray dx, cnp.ndarray dweight, cnp.ndarray dbias, cnp.ndarray dy not None,
                  cnp.ndarray x not None, cnp.ndarray mean not None, cnp.ndarray invstd not None,
                  cnp.ndarray weight, bint per_sample, int64_t groups):
    """Gradients of norm_forward, any of dx, dweight, dbias None; mean and invstd as it left them."""
    cdef cnf_norm d
    fill_norm(&d, dx, x, dy, per_sample, groups, 0)
    expect_vectors(d.segments * groups, "mean invstd", (mean, invstd))
    expect_vectors(d.c, "dweight dbias", (dweight, dbias), written=True)
    expect_vectors(d.c, "weight", (weight,))
    issue(cnf_id_norm_backward, (dx, dweight, dbias, dy, x, mean, invstd, weight), &d)


def norm_evaluate(cnp.ndarray y not None, cnp.ndarray x not None, cnp.ndarray running_mean not None,
                  cnp.ndarray running_var not None, cnp.ndarray weight, cnp.ndarray bias,
                  double eps):
    """Normalise image x by given statistics (C) a channel."""
    cdef cnf_norm d
    fill_norm(&d, y, x, None, False, max(x.shape[1], 1), eps)
    expect_vectors(d.c, "running_mean running_var weight bias",
                   (running_mean, running_var, weight, bias))
    issue(cnf_id_norm_evaluate, (y, x, running_mean, running_var, weight, bias), &d)


def norm_evaluate_backward(cnp.ndarray dx, cnp.ndarray dweight, cnp.ndarray dbias,
                           cnp.ndarray dy not None, cnp.ndarray x not None,
                           cnp.ndarray running_mean not None, cnp.ndarray running_var not None,
                           cnp.ndarray weight, double eps):
    """Gradients of norm_evaluate, any of dx, dweight, dbias None."""
    cdef cnf_norm d
    fill_norm(&d, dx, x, dy, False, max(x.shape[1], 1), eps)
    expect_vectors(d.c, "dweight dbias", (dweight, dbias), written=True)
    expect_vectors(d.c, "running_mean running_var weight", (running_mean, running_var, weight))
    issue(cnf_id_norm_evaluate_backward,
          (dx, dweight, dbias, dy, x, running_mean, running_var, weight), &d)


cdef int64_t as_rows(cnp.ndarray x, cnp.ndarray wanted, str name, bint written=False) except -1:
    """Return the pitch of float32 matrix x (rows, c) of the shape of `wanted`."""
    if x.ndim != 2 or cnp.PyArray_TYPE(x) != cnp.NPY_FLOAT32:
        raise TypeError(f"{name}: expected a float32 matrix, got {describe(x)}")
    cdef int64_t rows = x.shape[0], c = x.shape[1]
    if rows != wanted.shape[0] or c != wanted.shape[1]:
        raise ValueError(f"{name}: expected shape {(<object>wanted).shape}, got {describe(x)}")
    if written and not cnp.PyArray_ISWRITEABLE(x):
        raise ValueError(f"{name}: the array is read-only")
    if rows <= 1 or c == 0:
        if c > 1 and rows == 1 and x.strides[1] != 4:
            raise ValueError(f"{name}: expected contiguous rows, got {describe(x)}")
        return c
    if x.strides[0] < c * 4 or x.strides[0] % 4 != 0 or (c > 1 and x.strides[1] != 4):
        raise ValueError(f"{name}: expected contiguous rows, got {describe(x)}")
    return x.strides[0] // 4


def layer_norm_forward(cnp.ndarray y not None, cnp.ndarray mean not None,
                       cnp.ndarray invstd not None, cnp.ndarray x not None, cnp.ndarray weight,
                       cnp.ndarray bias, double eps):
    """Normalise each row of x (rows, c); weight and bias (c); mean and invstd (rows) keep it."""
    cdef cnf_layer_norm d
    d.x_pitch, d.y_pitch = as_rows(x, x, "x"), as_rows(y, x, "y", written=True)
    d.rows, d.c, d.eps, d.dy_pitch = x.shape[0], x.shape[1], eps, 0
    expect_vectors(d.rows, "mean invstd", (mean, invstd), written=True)
    expect_vectors(d.c, "weight bias", (weight, bias))
    issue(cnf_id_layer_norm_forward, (y, mean, invstd, x, weight, bias), &d)


def layer_norm_backward(cnp.ndarray dx, cnp.ndarray dweight, cnp.ndarray dbias,
                        cnp.ndarray dy not None, cnp.ndarray x not None, cnp.ndarray mean not None,
                        cnp.ndarray invstd not None, cnp.ndarray weight):
    """Gradients of layer_norm_forward, any of dx, dweight, dbias None."""
    cdef cnf_layer_norm d
    d.x_pitch, d.dy_pitch = as_rows(x, x, "x"), as_rows(dy, x, "dy")
    d.rows, d.c, d.eps = x.shape[0], x.shape[1], 0
    d.y_pitch = 0 if dx is None else as_rows(dx, x, "dx", written=True)
    expect_vectors(d.rows, "mean invstd", (mean, invstd))
    expect_vectors(d.c, "dweight dbias", (dweight, dbias), written=True)
    expect_vectors(d.c, "weight", (weight,))
    issue(cnf_id_layer_norm_backward, (dx, dweight, dbias, dy, x, mean, invstd, weight), &d)


cdef int fill_local_norm(cnf_local_norm *d, cnp.ndarray y, cnp.ndarray x, cnp.ndarray dy,
                         int64_t size, float alpha, float beta, float k) except -1:
    cdef Image image, other
    as_image(x, &image, "x")
    as_image(y, &other, "y", written=True)
    expect_same_image(&other, &image, "y")
    d.rows, d.c, d.x_pitch = image.n * image.h * image.w, image.c, image.pitch
    d.y_pitch = d.dy_pitch = other.pitch
    if dy is not None:
        as_image(dy, &other, "dy")
        expect_same_image(&other, &image, "dy")
        d.dy_pitch = other.pitch
    if size < 1 or size > 1 << 20:
        raise ValueError(f"size: expected a window of 1 to {1 << 20} channels, got {size}")
    d.size, d.alpha, d.beta, d.k = size, alpha, beta, k
    return 0


def local_norm_forward(cnp.ndarray y not None, cnp.ndarray x not None, int64_t size, float alpha,
                       float beta, float k):
    """y = x / (k + alpha * mean of x**2 over a window of `size` channels) ** beta."""
    cdef cnf_local_norm d
    fill_local_norm(&d, y, x, None, size, alpha, beta, k)
    issue(cnf_id_local_norm_forward, (y, x), &d)


def local_norm_backward(cnp.ndarray dx not None, cnp.ndarray dy not None, cnp.ndarray x not None,
                        int64_t size, float alpha, float beta, float k):
    """Gradient of local_norm_forward."""
    cdef cnf_local_norm d
    fill_local_norm(&d, dx, x, dy, size, alpha, beta, k)
    issue(cnf_id_local_norm_backward, (dx, dy, x), &d)
