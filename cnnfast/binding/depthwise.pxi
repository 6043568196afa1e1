# Depthwise convolution and its gradients.

cdef extern from "cnnfast.h" nogil:
    enum: cnf_id_depthwise_forward, cnf_id_depthwise_backward_input
    enum: cnf_id_depthwise_backward_weight
    ctypedef struct cnf_depthwise:
        int64_t n, c, h, w, x_pitch, oh, ow, y_pitch, kh, kw
        int64_t stride_h, stride_w, pad_top, pad_left, dilation_h, dilation_w
        cnf_epilogue epilogue


cdef int fill_depthwise(cnf_depthwise *d, cnp.ndarray x, cnp.ndarray y, cnp.ndarray weight, stride,
                        padding, dilation, int written) except -1:
    """Check the operands of a depthwise convolution; number `written` of x, y, weight is written."""
    cdef Image image_x, image_y
    as_image(x, &image_x, "x or dx", written == 0)
    as_image(y, &image_y, "y or dy", written == 1)
    d.n, d.c, d.h, d.w, d.x_pitch = image_x.n, image_x.c, image_x.h, image_x.w, image_x.pitch
    d.oh, d.ow, d.y_pitch = image_y.h, image_y.w, image_y.pitch
    if image_y.n != d.n or image_y.c != d.c:
        raise ValueError(f"a depthwise convolution keeps the batch and the channels: x {describe(x)}, "
                         f"y {describe(y)}")
    fill_filters(d, weight, stride, padding, dilation, written == 2)
    return 0


cdef int fill_filters(cnf_depthwise *d, cnp.ndarray weight, stride, padding, dilation,
                      bint written) except -1:
    """The rest of a descriptor whose images are known."""
    if weight is None or weight.ndim != 4 or weight.shape[0] != d.c or weight.shape[1] != 1:
        raise ValueError(f"weight: expected shape ({d.c}, 1, kh, kw), got {describe(weight)}")
    d.kh, d.kw = weight.shape[2], weight.shape[3]
    expect_dense(weight, cnp.NPY_FLOAT32, d.c * d.kh * d.kw, "weight", written)
    d.stride_h, d.stride_w = stride
    d.pad_top, d.pad_left = padding
    d.dilation_h, d.dilation_w = dilation
    d.epilogue = NO_EPILOGUE
    if min(d.h, d.w, d.oh, d.ow, d.kh, d.kw, d.stride_h, d.stride_w, d.dilation_h, d.dilation_w) < 1:
        raise ValueError("image sizes, kernel, stride and dilation must be at least 1")
    if (max(d.h, d.w, d.oh, d.ow) >= 1 << 31
            or max(d.kh, d.kw, d.stride_h, d.stride_w, d.dilation_h, d.dilation_w) >= 1 << 20
            or max(abs(d.pad_top), abs(d.pad_left)) >= 1 << 40):
        raise ValueError("image sizes must be below 2^31, kernel, stride and dilation below 2^20")
    return 0


def depthwise_forward(cnp.ndarray y not None, cnp.ndarray x not None, cnp.ndarray weight not None,
                      cnp.ndarray bias, stride, padding, dilation, cnp.ndarray residual=None,
                      str activation="identity", float alpha=0, float beta=0, cnp.ndarray sums=None):
    """Convolve each channel of x with its filter in weight (C, 1, kh, kw); bias (C,) or None.

    padding is (top, left); what lies below and to the right follows from y's size. The epilogue is
    `conv2d_forward`'s, but the residual may not be y.
    """
    cdef cnf_depthwise d
    fill_depthwise(&d, x, y, weight, stride, padding, dilation, 1)
    if bias is not None:
        expect_dense(bias, cnp.NPY_FLOAT32, d.c, "bias")
    fill_epilogue(&d.epilogue, y, x, residual, activation, alpha, beta, sums, False)
    issue(cnf_id_depthwise_forward, (y, sums, x, weight, bias, residual), &d)


def depthwise_backward_input(cnp.ndarray dx not None, cnp.ndarray dy not None,
                             cnp.ndarray weight not None, stride, padding, dilation):
    """dx from dy, with `depthwise_forward`'s attributes."""
    cdef cnf_depthwise d
    fill_depthwise(&d, dx, dy, weight, stride, padding, dilation, 0)
    issue(cnf_id_depthwise_backward_input, (dx, dy, weight), &d)


def depthwise_backward_weight(cnp.ndarray dw not None, cnp.ndarray x not None,
                              cnp.ndarray dy not None, stride, padding, dilation):
    """dw (C, 1, kh, kw) from x and dy, with `depthwise_forward`'s attributes."""
    cdef cnf_depthwise d
    fill_depthwise(&d, x, dy, dw, stride, padding, dilation, 2)
    issue(cnf_id_depthwise_backward_weight, (dw, x, dy), &d)
