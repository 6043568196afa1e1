# A depthwise convolution between 1x1 convolutions, as one primitive.

cdef extern from "cnnfast.h" nogil:
    enum: cnf_id_separable_forward
    ctypedef struct cnf_separable:
        cnf_conv2d expand
        cnf_depthwise depthwise
        cnf_conv2d project
    int cnf_separable_gains(const cnf_separable *d)


cdef int fill_pointwise(cnf_conv2d *d, int64_t co, int64_t ci, int64_t n, int64_t h, int64_t w,
                        tuple layer, str name) except -1:
    """A 1x1 convolution of images; `layer` is (packed, bias, activation, alpha, beta)."""
    fill_conv2d(d, (co, ci, 1, 1), (1, 1), (0, 0), (1, 1), 1, "direct")
    d.n, d.h, d.w, d.oh, d.ow = n, h, w, h, w
    expect_dense(layer[0], cnp.NPY_FLOAT32, cnf_conv2d_packed_size(d, 0), name)
    return fill_layer(&d.epilogue, co, layer, name)


cdef int fill_layer(cnf_epilogue *e, int64_t c, tuple layer, str name) except -1:
    """What follows a convolution to c channels, and its bias."""
    if layer[1] is not None:
        expect_dense(layer[1], cnp.NPY_FLOAT32, c, f"bias of {name}")
    e.activation, e.alpha, e.beta = kind_number(_unary_number, layer[2]), layer[3], layer[4]
    return 0


cdef int fill_separable(cnf_separable *d, cnp.ndarray y, cnp.ndarray x, tuple expand,
                        tuple depthwise, tuple project, stride, padding, dilation,
                        cnp.ndarray residual) except -1:
    cdef Image image_x, image_y
    cdef cnp.ndarray weight = depthwise[0]
    cdef cnf_epilogue last
    as_image(x, &image_x, "x")
    as_image(y, &image_y, "y", True)
    memset(d, 0, sizeof(cnf_separable))
    d.depthwise.n, d.depthwise.c = image_x.n, len(weight)
    d.depthwise.h, d.depthwise.w, d.depthwise.x_pitch = image_x.h, image_x.w, image_x.pitch
    d.depthwise.oh, d.depthwise.ow, d.depthwise.y_pitch = image_y.h, image_y.w, image_y.pitch
    fill_filters(&d.depthwise, weight, stride, padding, dilation, False)
    fill_layer(&d.depthwise.epilogue, d.depthwise.c, depthwise, "weight")
    if (image_y.n != image_x.n or (expand is None and image_x.c != d.depthwise.c)
            or (project is None and image_y.c != d.depthwise.c)):
        raise ValueError(f"a depthwise convolution keeps the batch and the channels: x {describe(x)}, "
                         f"y {describe(y)}, weight {describe(weight)}")
    if d.depthwise.c * (<double>image_x.h * image_x.w + <double>image_y.h * image_y.w) > MOST_FLOATS:
        raise ValueError(f"images of {d.depthwise.c} channels between x {describe(x)} and y "
                         f"{describe(y)} are too large to compute with")
    if residual is not None and project is None:
        raise ValueError("a residual is added behind the last 1x1 convolution, and there is none")
    fill_epilogue(&last, y, x, residual, "identity", 0, 0, None, False)
    if expand is not None:
        fill_pointwise(&d.expand, d.depthwise.c, image_x.c, image_x.n, image_x.h, image_x.w, expand,
                       "expand")
        d.expand.x_pitch = image_x.pitch
    if project is not None:
        fill_pointwise(&d.project, image_y.c, d.depthwise.c, image_y.n, image_y.h, image_y.w, project,
                       "project")
        d.project.y_pitch, d.project.epilogue.residual_pitch = image_y.pitch, last.residual_pitch
    return 0


def separable_gains(cnp.ndarray y not None, cnp.ndarray x not None, tuple expand,
                    tuple depthwise not None, tuple project, stride, padding, dilation):
    """Whether `separable_forward` is estimated to be faster than convolution by convolution."""
    cdef cnf_separable d
    fill_separable(&d, y, x, expand, depthwise, project, stride, padding, dilation, None)
    return bool(cnf_separable_gains(&d))


def separable_forward(cnp.ndarray y not None, cnp.ndarray x not None, tuple expand,
                      tuple depthwise not None, tuple project, stride, padding, dilation,
                      cnp.ndarray residual=None):
    """y = project(depthwise(expand(x))) + residual, with what follows each in between.

    Each convolution is (weight, bias or None, activation, alpha, beta), or None where there is none;
    the weights of the 1x1 convolutions `expand` and `project` as `conv2d_pack` packed them, the
    depthwise one's (C, 1, kh, kw). The residual is added before the last activation.
    """
    cdef cnf_separable d
    cdef tuple none = (None, None)
    fill_separable(&d, y, x, expand, depthwise, project, stride, padding, dilation, residual)
    issue(cnf_id_separable_forward,
          (y, x, *(expand or none)[:2], *depthwise[:2], *(project or none)[:2], residual), &d)
