# Convolution, its gradients and its packed weights.

cdef extern from "cnnfast.h" nogil:
    enum: cnf_id_conv2d_pack_forward, cnf_id_conv2d_pack_backward, cnf_id_conv2d_forward
    enum: cnf_id_conv2d_backward_input, cnf_id_conv2d_backward_weight
    ctypedef struct cnf_epilogue:
        int64_t activation, residual_pitch, sums
        float alpha, beta
    ctypedef struct cnf_conv2d:
        int64_t n, h, w, ci, x_pitch
        int64_t oh, ow, co, y_pitch
        int64_t kh, kw, stride_h, stride_w, pad_top, pad_left, dilation_h, dilation_w, groups
        int64_t algorithm
        cnf_epilogue epilogue
    enum: cnf_id_conv2d_scaled_forward
    ctypedef struct cnf_conv2d_scaled:
        cnf_conv2d conv
        int64_t scale_image
        float low, high
    int CNF_CONV2D_FORWARD, CNF_CONV2D_BACKWARD_INPUT, CNF_CONV2D_BACKWARD_WEIGHT
    int64_t cnf_conv2d_choose(const cnf_conv2d *d, int direction)
    int cnf_conv2d_accepts(const cnf_conv2d *d)
    size_t cnf_conv2d_packed_size(const cnf_conv2d *d, int backward)


# No allocation is larger (memory.c); below it, C's 64-bit sizes and offsets cannot overflow.
cdef double MOST_FLOATS = 2.0**44
cdef double MOST_PHASES = 2.0**24


CONV2D_ALGORITHMS = ("direct", "winograd", "winograd_inline")
CONV2D_DIRECTIONS = ("forward", "backward_input", "backward_weight")


cdef int fill_conv2d(cnf_conv2d *d, weight, stride, padding, dilation, int64_t groups,
                     str algorithm) except -1:
    """The descriptor's part that does not depend on the images: weight shape and attributes."""
    cdef double floats
    d.co, d.ci, d.kh, d.kw = weight
    floats = <double>d.co * d.ci * groups * d.kh * d.kw
    d.ci *= groups
    d.stride_h, d.stride_w = stride
    d.pad_top, d.pad_left = padding
    d.dilation_h, d.dilation_w = dilation
    d.groups = groups
    d.algorithm = CONV2D_ALGORITHMS.index(algorithm)
    d.epilogue = NO_EPILOGUE
    d.n = d.h = d.w = d.oh = d.ow = 1
    d.x_pitch, d.y_pitch = d.ci, d.co
    if (min(d.kh, d.kw, d.stride_h, d.stride_w, d.dilation_h, d.dilation_w, groups) < 1
            or d.co % groups or min(d.pad_top, d.pad_left, d.co, d.ci) < 0
            or not cnf_conv2d_accepts(d)):
        raise ValueError(f"conv2d: weight {weight}, stride {stride}, padding {padding}, dilation "
                         f"{dilation}, groups {groups} do not make a {algorithm} convolution")
    # The input gradient visits every phase of the stride, so its count is bounded too.
    if floats > MOST_FLOATS or <double>d.stride_h * d.stride_w > MOST_PHASES:
        raise ValueError(f"conv2d: weight {weight} or stride {stride} is too large to compute with")
    return 0


cdef cnf_epilogue NO_EPILOGUE
NO_EPILOGUE.activation = NO_EPILOGUE.residual_pitch = NO_EPILOGUE.sums = 0
NO_EPILOGUE.alpha = NO_EPILOGUE.beta = 0


cdef bint are_apart(const Image *a, const Image *b) noexcept:
    """Whether two images share no element; channel slices of one buffer do not."""
    cdef int64_t a_pixels = a.n * a.h * a.w, b_pixels = b.n * b.h * b.w, offset
    if a_pixels * a.c == 0 or b_pixels * b.c == 0:
        return True
    if (b.data >= a.data + (a_pixels - 1) * a.pitch + a.c
            or a.data >= b.data + (b_pixels - 1) * b.pitch + b.c):
        return True
    if a.pitch != b.pitch:
        return False
    offset = (b.data - a.data) % a.pitch
    if offset < 0:  # C's remainder has the sign of the dividend
        offset += a.pitch
    return offset >= a.c and offset + b.c <= a.pitch


cdef int fill_epilogue(cnf_epilogue *e, cnp.ndarray y, cnp.ndarray x, cnp.ndarray residual,
                       str activation, float alpha, float beta, cnp.ndarray sums,
                       bint in_place) except -1:
    """What follows a convolution of x to y: y = activation(convolution + residual), and its sums."""
    cdef Image image_y, image_x, image
    as_image(y, &image_y, "y", True)
    as_image(x, &image_x, "x")
    if not are_apart(&image_y, &image_x):
        raise ValueError(f"y and x share memory: y {describe(y)}, x {describe(x)}")
    e[0] = NO_EPILOGUE
    e.activation, e.alpha, e.beta = kind_number(_unary_number, activation), alpha, beta
    if residual is not None:
        as_image(residual, &image, "residual")
        if (image.n, image.c, image.h, image.w) != (image_y.n, image_y.c, image_y.h, image_y.w):
            raise ValueError(f"residual: expected y's shape {(<object>y).shape}, got {describe(residual)}")
        if (not (in_place and image.data == image_y.data and image.pitch == image_y.pitch)
                and not are_apart(&image_y, &image)):
            raise ValueError(f"residual: expected {'y itself or ' if in_place else ''}an image that shares "
                             f"no element with y, got {describe(residual)} and y {describe(y)}")
        e.residual_pitch = image.pitch
    if sums is not None:
        expect_dense(sums, cnp.NPY_FLOAT64, 2 * image_y.c, "sums", written=True)
        e.sums = 1
    return 0


cdef double extent(double size, double out, double kernel, double stride, double pad,
                   double dilation) noexcept:
    """A bound of every pixel coordinate along one axis, in double so that it cannot overflow."""
    return size + pad + out * stride + kernel * dilation


cdef int fill_conv2d_images(cnf_conv2d *d, cnp.ndarray y, cnp.ndarray x, bint y_written,
                            bint x_written) except -1:
    """The descriptor's images, checked against its weight."""
    cdef Image image
    as_image(x, &image, "x", x_written)
    d.n, d.h, d.w, d.x_pitch = image.n, image.h, image.w, image.pitch
    if image.c != d.ci:
        raise ValueError(f"conv2d: expected {d.ci} input channels, got {describe(x)}")
    as_image(y, &image, "y", y_written)
    d.oh, d.ow, d.y_pitch = image.h, image.w, image.pitch
    if image.c != d.co or image.n != d.n:
        raise ValueError(f"conv2d: expected {d.n} images of {d.co} channels, got {describe(y)}")
    cdef double rows = extent(d.h, d.oh, d.kh, d.stride_h, d.pad_top, d.dilation_h)
    cdef double cols = extent(d.w, d.ow, d.kw, d.stride_w, d.pad_left, d.dilation_w)
    if rows * cols * (<double>d.ci + d.co) > MOST_FLOATS:
        raise ValueError(f"conv2d: an image of {rows:.0f} x {cols:.0f} pixels with its padding is "
                         "too large: check stride, padding and dilation")
    return 0


def conv2d_choose(cnp.ndarray y, cnp.ndarray x, weight, stride, padding, dilation, int64_t groups,
                  str direction):
    """Return the name of the algorithm estimated to be fastest; direction as in `CONV2D_DIRECTIONS`."""
    cdef cnf_conv2d d
    fill_conv2d(&d, weight, stride, padding, dilation, groups, "direct")
    fill_conv2d_images(&d, y, x, False, False)
    return CONV2D_ALGORITHMS[cnf_conv2d_choose(&d, CONV2D_DIRECTIONS.index(direction))]


def conv2d_algorithms(weight, stride, padding, dilation, int64_t groups):
    """Return the names of the algorithms that can compute such a convolution, "direct" first."""
    cdef cnf_conv2d d
    cdef list names = []
    fill_conv2d(&d, weight, stride, padding, dilation, groups, "direct")
    for d.algorithm in range(len(CONV2D_ALGORITHMS)):
        if cnf_conv2d_accepts(&d):
            names.append(CONV2D_ALGORITHMS[d.algorithm])
    return tuple(names)


def conv2d_packed_size(weight, stride, padding, dilation, int64_t groups, bint backward, str algorithm="direct"):
    """Return how many floats the packed form of a weight of shape (O, I, kh, kw) takes."""
    cdef cnf_conv2d d
    fill_conv2d(&d, weight, stride, padding, dilation, groups, algorithm)
    return cnf_conv2d_packed_size(&d, backward)


def conv2d_pack(cnp.ndarray packed not None, cnp.ndarray weight not None, stride, padding, dilation,
                int64_t groups, bint backward, str algorithm="direct"):
    """packed = weight (O, I, kh, kw) in the order that the forward or the input gradient's kernel reads."""
    cdef cnf_conv2d d
    if weight.ndim != 4:
        raise ValueError(f"weight: expected 4 axes, got {describe(weight)}")
    fill_conv2d(&d, (<object>weight).shape, stride, padding, dilation, groups, algorithm)
    expect_dense(weight, cnp.NPY_FLOAT32, weight.size, "weight")
    expect_dense(packed, cnp.NPY_FLOAT32, cnf_conv2d_packed_size(&d, backward), "packed", written=True)
    issue(cnf_id_conv2d_pack_backward if backward else cnf_id_conv2d_pack_forward, (packed, weight), &d)


def conv2d_forward(cnp.ndarray y, cnp.ndarray x, cnp.ndarray packed not None, cnp.ndarray bias,
                   weight, stride, padding, dilation, int64_t groups, str algorithm="direct",
                   cnp.ndarray residual=None, str activation="identity", float alpha=0,
                   float beta=0, cnp.ndarray sums=None):
    """y = activation(convolution of x + bias + residual).

    `weight` is the shape of what `conv2d_pack` packed; padding is (top, left). The residual is an
    image of y's shape: y itself, whose old values are added, or one that shares nothing with it.
    The activation is one of `UNARY_KINDS` with its attributes alpha and beta. `sums`, float64 (2, C),
    receives the sums of y and of y^2 a channel.
    """
    cdef cnf_conv2d d
    fill_conv2d(&d, weight, stride, padding, dilation, groups, algorithm)
    fill_conv2d_images(&d, y, x, True, False)
    expect_dense(packed, cnp.NPY_FLOAT32, cnf_conv2d_packed_size(&d, 0), "packed")
    if bias is not None:
        expect_dense(bias, cnp.NPY_FLOAT32, d.co, "bias")
    fill_epilogue(&d.epilogue, y, x, residual, activation, alpha, beta, sums, True)
    issue(cnf_id_conv2d_forward, (y, sums, x, packed, bias, residual), &d)


def conv2d_scaled_forward(cnp.ndarray y, cnp.ndarray x, cnp.ndarray scale, cnp.ndarray shift,
                          float low, float high, cnp.ndarray packed not None, cnp.ndarray bias,
                          weight, stride, padding, dilation, int64_t groups,
                          cnp.ndarray residual=None, str activation="identity", float alpha=0,
                          float beta=0):
    """`conv2d_forward`, direct, of x * scale + shift within [low, high]; padding stays zero.

    `scale` is an image (n, c, 1, 1) or (1, c, 1, 1), shift dense (c,) or None.
    """
    cdef cnf_conv2d_scaled d
    cdef Image image
    fill_conv2d(&d.conv, weight, stride, padding, dilation, groups, "direct")
    fill_conv2d_images(&d.conv, y, x, True, False)
    as_image(scale, &image, "scale")
    if image.n not in (1, d.conv.n) or image.c != d.conv.ci or image.h * image.w != 1:
        raise ValueError(f"scale: expected shape (1 or {d.conv.n}, {d.conv.ci}, 1, 1), "
                         f"got {describe(scale)}")
    d.scale_image = 0 if image.n == 1 else image.pitch
    d.low, d.high = low, high
    if shift is not None:
        expect_dense(shift, cnp.NPY_FLOAT32, d.conv.ci, "shift")
    expect_dense(packed, cnp.NPY_FLOAT32, cnf_conv2d_packed_size(&d.conv, 0), "packed")
    if bias is not None:
        expect_dense(bias, cnp.NPY_FLOAT32, d.conv.co, "bias")
    fill_epilogue(&d.conv.epilogue, y, x, residual, activation, alpha, beta, None, True)
    issue(cnf_id_conv2d_scaled_forward, (y, x, scale, shift, packed, bias, residual), &d)


def conv2d_backward_input(cnp.ndarray dx, cnp.ndarray dy, cnp.ndarray packed not None, cnp.ndarray bias,
                          weight, stride, padding, dilation, int64_t groups, str algorithm="direct"):
    """dx = gradient of a convolution's input; with `bias`, the transposed convolution of dy."""
    cdef cnf_conv2d d
    fill_conv2d(&d, weight, stride, padding, dilation, groups, algorithm)
    fill_conv2d_images(&d, dy, dx, False, True)
    expect_dense(packed, cnp.NPY_FLOAT32, cnf_conv2d_packed_size(&d, 1), "packed")
    if bias is not None:
        expect_dense(bias, cnp.NPY_FLOAT32, d.ci, "bias")
    issue(cnf_id_conv2d_backward_input, (dx, dy, packed, bias), &d)


def conv2d_backward_weight(cnp.ndarray dw not None, cnp.ndarray x, cnp.ndarray dy, stride, padding,
                           dilation, int64_t groups, str algorithm="direct"):
    """dw = gradient of a convolution's weight (O, I, kh, kw), dense."""
    cdef cnf_conv2d d
    if dw.ndim != 4:
        raise ValueError(f"dw: expected 4 axes, got {describe(dw)}")
    fill_conv2d(&d, (<object>dw).shape, stride, padding, dilation, groups, algorithm)
    fill_conv2d_images(&d, dy, x, False, False)
    expect_dense(dw, cnp.NPY_FLOAT32, dw.size, "dw", written=True)
    issue(cnf_id_conv2d_backward_weight, (dw, x, dy), &d)
