/* cnnfast.h: the one public header of the engine, usable from C without Python.
 *
 * Images are NHWC with a pixel pitch: channel c of pixel (n, y, x) of an image tensor stands at
 *     data[((n * h + y) * w + x) * pitch + c],  pitch >= channels, in floats.
 * Convolution weights are logical OIHW, dense. All sizes are int64_t, all strides count elements.
 * Arguments come in the order outputs, inputs, descriptor, scratch. Outputs are overwritten.
 * Every function that computes returns a cnf_status; none aborts, none allocates on a hot path. */
#ifndef CNNFAST_H
#define CNNFAST_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
    CNF_OK = 0,
    CNF_BAD_ARGUMENT,  /* a size, stride or kind that the primitive does not accept */
    CNF_OUT_OF_MEMORY, /* scratch could not be had; nothing was written */
    CNF_BAD_LABEL,     /* a class target that is no class; nothing was written */
    CNF_BAD_FILE,      /* a file that cannot be read or holds no model for this engine */
} cnf_status;

#define CNF_MAX_RANK 8

/* ---- the machine ------------------------------------------------------------------------- */

const char *cnf_cpu_name(void);               /* brand string of the processor */
const char *cnf_isa_name(void);               /* the ladder's rung in use */
int cnf_isa_count(void);                      /* rungs that this CPU and its system can run */
const char *cnf_isa_available(int index);     /* their names, slowest first */
cnf_status cnf_set_isa(const char *name);     /* force a rung; CNF_BAD_ARGUMENT if not available */
int cnf_has_openmp(void);
int cnf_get_threads(void);
int cnf_set_threads(int threads);             /* 0: the default of this machine; returns the count */

void *cnf_allocate(size_t bytes);             /* 64-byte aligned, from the pool; NULL if none */
void cnf_release(void *pointer);
size_t cnf_memory_trim(size_t keep);          /* give cached memory back; returns bytes still cached */
size_t cnf_pitch(size_t channels);            /* the pixel pitch that the engine gives to images */

/* ---- primitives -------------------------------------------------------------------------- */

typedef enum {
#define PRIMITIVE(name, descriptor, buffers, written, scratch) cnf_id_##name,
#include "plan/primitives.def"
#undef PRIMITIVE
    cnf_primitive_count
} cnf_primitive_id;

#define CNF_MAX_BUFFERS 9

/* Run one primitive now. `buffers` holds its operands in the order of its C function. */
cnf_status cnf_execute(int primitive, void *const *buffers, const void *descriptor);
int cnf_primitive_buffers(int primitive);
int cnf_primitive_written(int primitive); /* no buffer but the first so many is written */
size_t cnf_primitive_descriptor_size(int primitive);
const char *cnf_primitive_name(int primitive);

/* A recorded call: what `cnf_execute` takes, kept for replay. */
typedef struct {
    int primitive;
    void *buffers[CNF_MAX_BUFFERS];
    const void *descriptor;
} cnf_call;

/* Run `count` recorded calls in order; stops at the first that fails. */
cnf_status cnf_replay(const cnf_call *calls, size_t count);

/* ---- plans ------------------------------------------------------------------------------- */

/* A recorded call whose operand k stands `offset[k]` bytes from base number `base[k]`. */
typedef struct {
    int primitive;
    int32_t base[CNF_MAX_BUFFERS];
    int64_t offset[CNF_MAX_BUFFERS];
    const void *descriptor;
} cnf_plan_call;

enum {
    CNF_BASE_NONE,  /* address 0: the offset is the address of a constant, or 0 for no operand */
    CNF_BASE_ARENA, /* `arena` bytes that live as long as one run */
    CNF_BASE_FIRST  /* what the caller brings: inputs and outputs */
};

#define CNF_MAX_ENDS 120 /* of the caller's bases, so that one run keeps them on its stack */

/* With `parts` above 1 the calls compute one part of a batch: part i finds what the caller brings
 * i * `step` bytes behind its beginning, and has an arena of its own. */
typedef struct {
    const cnf_plan_call *calls;
    size_t count;
    size_t arena;
    uint64_t scratch; /* 0 at first; cnf_plan_run's own */
    int64_t parts;    /* 0 is 1 */
    int64_t ends;     /* how many bases the caller brings */
    int64_t step[CNF_MAX_ENDS];
} cnf_plan;

/* Memory for the runs of some plans: as many blocks wait as calls may overlap without allocating. */
#define CNF_WORKSPACE_BLOCKS 8
typedef struct {
    void *block[CNF_WORKSPACE_BLOCKS];
} cnf_workspace;

void *cnf_workspace_take(cnf_workspace *workspace, size_t bytes); /* NULL: no memory */
void cnf_workspace_give(cnf_workspace *workspace, void *block);
void cnf_workspace_clear(cnf_workspace *workspace); /* gives waiting blocks back to the system */

/* Run a plan on at most `threads` threads (0: the usual count). `ends` are the caller's bases.
 * Several threads may run one plan with one workspace. `started`, unless NULL, takes count + 1 times
 * in seconds: when each call began and when the last ended. Of several parts these are the times of
 * the first, run once more on one thread. */
cnf_status cnf_plan_run(cnf_plan *plan, cnf_workspace *workspace, void *const *ends, int threads,
                        double *started);

/* ---- saved models ------------------------------------------------------------------------ */

/* What `CompiledModel.save(path, example=...)` wrote in Python: weights, and a plan for the shapes
 * of the example. A file is for every instruction set: weights are packed when it is opened. It is
 * refused where it was written by an engine with other primitives, or is damaged in any way that
 * would lead outside of its arrays. */
typedef struct cnf_model cnf_model;

/* An input or a result: C-contiguous, axes in the model's order (NCHW, or NHWC for raw images). */
typedef struct {
    const char *name;
    int64_t type; /* cnf_type */
    int64_t rank;
    int64_t size[CNF_MAX_RANK];
    size_t bytes;
} cnf_array;

#define CNF_MESSAGE 256

/* Open a model: a file, which must not be changed meanwhile, or `size` bytes at an address that is
 * a multiple of 8, which must stay as long as the model. Where the result is not CNF_OK, there is
 * no model, and `message`, NULL or of CNF_MESSAGE bytes, says why. */
cnf_status cnf_model_open(cnf_model **model, const char *path, char *message);
cnf_status cnf_model_open_bytes(cnf_model **model, const void *bytes, size_t size, char *message);
void cnf_model_close(cnf_model *model);

/* The inputs and results, in order; NULL beyond the last. */
const cnf_array *cnf_model_input(const cnf_model *model, int index);
const cnf_array *cnf_model_output(const cnf_model *model, int index);

/* Compute all results; any number of threads may do so at once. CNF_BAD_ARGUMENT where an array is
 * NULL or not aligned to its elements, or `cnf_set_isa` changed the engine since the model was
 * opened. */
cnf_status cnf_model_run(cnf_model *model, const void *const *inputs, void *const *outputs);

/* Another number for each set of primitives, descriptors and functions that a plan may hold. */
int64_t cnf_plan_version(void);

/* ---- element-wise ------------------------------------------------------------------------ */

/* The functions, one row each in tiles/elementwise.def: cnf_unary_relu, cnf_binary_add, ... */
typedef enum {
#define UNARY(name, forward, backward) cnf_unary_##name,
#include "tiles/elementwise.def"
    cnf_unary_count
} cnf_unary_kind;

typedef enum {
#define BINARY(name, forward) cnf_binary_##name,
#include "tiles/elementwise.def"
    cnf_binary_count
} cnf_binary_kind;

typedef enum {
#define TERNARY(name, forward) cnf_ternary_##name,
#include "tiles/elementwise.def"
    cnf_ternary_count
} cnf_ternary_kind;

/* Names as in the table; NULL beyond its end. */
const char *cnf_unary_name(int kind);
const char *cnf_binary_name(int kind);
const char *cnf_ternary_name(int kind);
int cnf_unary_by_result(int kind); /* whether unary_backward reads y where others read x */

/* y[i] = f(a[i], b[i], ...) over a strided box of `rank` axes. Inputs may be the output itself. */
typedef struct {
    int64_t kind; /* of the primitive's own enumeration */
    int64_t rank;
    int64_t size[CNF_MAX_RANK];
    int64_t stride[4][CNF_MAX_RANK]; /* output, then inputs in order; 0 where one is broadcast */
    float alpha, beta;               /* the function's attributes */
} cnf_elementwise;

/* Element types that `copy` reads; it always writes float32. */
typedef enum {
    CNF_FLOAT32,
    CNF_FLOAT64,
    CNF_FLOAT16,
    CNF_INT8,
    CNF_INT16,
    CNF_INT32,
    CNF_INT64,
    CNF_UINT8, /* also bool */
    CNF_TYPE_COUNT
} cnf_type;

int64_t cnf_type_size(int type); /* bytes of an element */

/* y[i] = (float)x[i] over a strided box. */
typedef struct {
    int64_t type; /* cnf_type of x */
    int64_t rank;
    int64_t size[CNF_MAX_RANK];
    int64_t y_stride[CNF_MAX_RANK];
    int64_t x_stride[CNF_MAX_RANK]; /* in elements of x's type */
} cnf_copy_box;

/* ---- reduction --------------------------------------------------------------------------- */

typedef enum {
    CNF_SUM,
    CNF_SUM_SQUARE,
    CNF_PROD,
    CNF_MAX,
    CNF_MIN,
    CNF_REDUCE_COUNT
} cnf_reduce_kind;

/* y = scale * reduction of x over the axes that are not kept (the scale is for sums only). */
typedef struct {
    int64_t kind; /* cnf_reduce_kind */
    int64_t rank;
    int64_t size[CNF_MAX_RANK]; /* of x */
    int64_t kept[CNF_MAX_RANK]; /* 1: an axis of y; 0: reduced */
    int64_t y_stride[CNF_MAX_RANK];
    int64_t x_stride[CNF_MAX_RANK];
    double scale;
} cnf_reduce_box;

/* y = the first index of the largest (smallest) x along one axis; a NaN is larger (smaller). */
typedef struct {
    int64_t kind; /* CNF_MAX or CNF_MIN */
    int64_t rank, axis;
    int64_t size[CNF_MAX_RANK]; /* of x; y has size 1 along the axis */
    int64_t y_stride[CNF_MAX_RANK];
    int64_t x_stride[CNF_MAX_RANK];
} cnf_arg_box;

/* ---- gemm -------------------------------------------------------------------------------- */

/* C[b] = A[b] B[b] for each b of a box of `rank` batch axes; A is m x k, B is k x n, any strides;
 * C has contiguous columns. */
typedef struct {
    int64_t m, n, k;
    int64_t a_row, a_col, b_row, b_col, c_row;
    int64_t rank;
    int64_t size[CNF_MAX_RANK], a_batch[CNF_MAX_RANK], b_batch[CNF_MAX_RANK], c_batch[CNF_MAX_RANK];
} cnf_gemm;

/* ---- conv2d ------------------------------------------------------------------------------ */

/* What becomes of a convolution's result before it is written: y = activation(result + bias +
 * residual). A field of zeros: nothing. The residual is an image of y's shape; it may be y itself,
 * whose old values are then added. */
typedef struct {
    int64_t activation;     /* cnf_unary_kind; 0 is the identity */
    int64_t residual_pitch; /* floats from a pixel of the residual to the next */
    int64_t sums;           /* 1: sums (2, channels) of y and of y^2 over all pixels, in double */
    float alpha, beta;      /* the activation's attributes */
} cnf_epilogue;

/* A convolution of x (n, ci, h, w) to y (n, co, oh, ow): y[o] = sum over taps of x[o*stride +
 * tap*dilation - pad]. Padding at the bottom and the right follows from oh and ow. The gradients
 * use the same descriptor, the forward one's. */
typedef struct {
    int64_t n, h, w, ci, x_pitch;
    int64_t oh, ow, co, y_pitch;
    int64_t kh, kw, stride_h, stride_w, pad_top, pad_left, dilation_h, dilation_w, groups;
    int64_t algorithm; /* cnf_conv2d_algorithm */
    cnf_epilogue epilogue; /* of the forward pass; the gradients do not read it */
} cnf_conv2d;

/* The same of an image that is changed on its way in: x becomes x * scale + shift, a number a channel,
 * within [low, high]; padding stays zero. Direct. Its sums are not taken. */
typedef struct {
    cnf_conv2d conv;
    int64_t scale_image; /* floats from an image's factors to the next's; 0: all have the same */
    float low, high;
} cnf_conv2d_scaled;

typedef enum {
    CNF_CONV2D_DIRECT,   /* implicit matrix product; any convolution */
    CNF_CONV2D_WINOGRAD, /* F(4x4, 3x3): 3x3, stride 1, dilation 1, one group, padding up to 2 */
    /* The same for few pixels, or where a weight is new in each call: it is transformed piece by
     * piece on its way to the products. What stands for the packed weight is the weight, OIHW. */
    CNF_CONV2D_WINOGRAD_INLINE,
} cnf_conv2d_algorithm;

typedef enum {
    CNF_CONV2D_FORWARD,
    CNF_CONV2D_BACKWARD_INPUT,
    CNF_CONV2D_BACKWARD_WEIGHT,
} cnf_conv2d_direction;

/* Whether the descriptor's algorithm can compute this convolution. */
int cnf_conv2d_accepts(const cnf_conv2d *d);

/* The algorithm that is estimated to be fastest for these sizes here; CNNFAST_CONV=direct|winograd|
 * winograd_inline forces one where it fits. */
int64_t cnf_conv2d_choose(const cnf_conv2d *d, int direction);

/* Floats that the packed weight takes: for the forward kernel, or for the input gradient's. */
size_t cnf_conv2d_packed_size(const cnf_conv2d *d, int backward);

/* ---- depthwise --------------------------------------------------------------------------- */

/* A convolution with one filter a channel: x (n, c, h, w), weight (c, 1, kh, kw) dense,
 * y (n, c, oh, ow). Taps outside x read zero, so bottom and right padding follow from oh and ow. */
typedef struct {
    int64_t n, c;
    int64_t h, w, x_pitch;
    int64_t oh, ow, y_pitch;
    int64_t kh, kw;
    int64_t stride_h, stride_w, pad_top, pad_left, dilation_h, dilation_w;
    cnf_epilogue epilogue; /* of the forward pass; the residual may not be y */
} cnf_depthwise;

/* ---- separable --------------------------------------------------------------------------- */

/* A depthwise convolution between two 1x1 convolutions, either of which may be absent: its co is 0
 * then. What stands between them is never an image in memory, so its pitches are not read; only
 * the last convolution has a residual, if it is `project`. All take the direct algorithm. */
typedef struct {
    cnf_conv2d expand;
    cnf_depthwise depthwise;
    cnf_conv2d project;
} cnf_separable;

/* Whether that is estimated to be faster than the convolutions one by one, on as many threads. */
int cnf_separable_gains(const cnf_separable *d);

/* ---- pool -------------------------------------------------------------------------------- */

/* Pooling, resizing and mirrored padding read, for output (oy, ox), the inputs rows[oy] x cols[ox].
 * Which ones is a table of taps an axis:
 *     int32_t first[outputs + 1]   output o has taps first[o] .. first[o + 1] - 1
 *     (one word if outputs is even: what follows starts at an even word)
 *     cnf_tap taps[first[outputs]]
 * The gradient of such an operation is the same operation with the transposed tables. */
typedef struct {
    int32_t at;   /* position in the input */
    float weight; /* linear: its factor; maximum: its number in the window */
} cnf_tap;

typedef struct {
    int64_t n, c;
    int64_t h, w, x_pitch;   /* what is read */
    int64_t oh, ow, y_pitch; /* what is written */
    int64_t col_taps;        /* taps a column where all columns have as many, else 0 */
    int64_t wide_index;      /* max pooling: the index is 0: uint8, 1: float */
} cnf_gather;

/* ---- norm -------------------------------------------------------------------------------- */

/* Batch, group and instance norm of `segments` runs of `rows` pixels, each of c channels.
 * Batch norm: one segment of n*h*w rows, groups = c. Group norm: n segments of h*w rows.
 * Instance norm: that with groups = c. In evaluation: as batch norm. */
typedef struct {
    int64_t segments, rows, c;
    int64_t groups; /* statistics are shared by c / groups neighbouring channels */
    int64_t x_pitch, y_pitch, dy_pitch; /* y_pitch: of y, or of dx in a backward */
    double eps;
    double momentum; /* share of the new statistics in the running ones */
} cnf_norm;

/* Layer norm of each row of a (rows, c) matrix. */
typedef struct {
    int64_t rows, c;
    int64_t x_pitch, y_pitch, dy_pitch; /* y_pitch: of y, or of dx in a backward */
    double eps;
} cnf_layer_norm;

/* Local response norm across the channels of each pixel. */
typedef struct {
    int64_t rows, c;
    int64_t x_pitch, y_pitch, dy_pitch;
    int64_t size; /* channels in a window, size / 2 of them before */
    float alpha, beta, k;
} cnf_local_norm;

/* ---- softmax ----------------------------------------------------------------------------- */

/* Softmax or log-softmax of each row of a (rows, c) matrix. */
typedef struct {
    int64_t rows, c;
    int64_t x_pitch, y_pitch, dy_pitch; /* in a backward y_pitch is dx's and x_pitch the saved y's */
} cnf_softmax;

typedef enum { CNF_REDUCTION_NONE, CNF_REDUCTION_MEAN, CNF_REDUCTION_SUM } cnf_reduction;

/* Cross-entropy or negative log-likelihood of class targets, a row each. */
typedef struct {
    int64_t rows, c;
    int64_t x_pitch, dx_pitch;
    int64_t ignore_index; /* targets of this value do not count */
    int64_t reduction;    /* cnf_reduction; the mean is over the targets' class weights */
    double label_smoothing;
} cnf_cross_entropy;

/* ---- dropout ----------------------------------------------------------------------------- */

/* y = x * mask over a (rows, c) matrix; the mask is 0 with probability p, else 1 / (1 - p). It is a
 * function of a seed, read from memory, and of the position r * c + i. */
typedef struct {
    int64_t rows, c;
    int64_t x_pitch, y_pitch;
    double p;
} cnf_dropout;

/* ---- counter ----------------------------------------------------------------------------- */

/* y = x + by, of one number each. */
typedef struct {
    int64_t by;
} cnf_counter;

/* ---- resize ------------------------------------------------------------------------------ */

/* ---- pad --------------------------------------------------------------------------------- */

/* ---- index ------------------------------------------------------------------------------- */

/* `count` row numbers into a dense table of rows x inner floats. */
typedef struct {
    int64_t count, rows, inner;
} cnf_index;

/* ---- optim ------------------------------------------------------------------------------- */

/* One step over n parameters. The settings are torch.optim's hyperparameters. A schedule changes
 * them from step to step, so they are an operand, which a recording reads anew. */
typedef struct {
    int64_t n;
    int64_t nesterov;
} cnf_sgd;

typedef struct {
    double lr, momentum, dampening, weight_decay;
} cnf_sgd_settings;

typedef struct {
    int64_t n;
    int64_t decoupled; /* AdamW: the decay shrinks the parameter instead of joining the gradient */
} cnf_adam;

typedef struct {
    double lr, beta1, beta2, eps, weight_decay;
} cnf_adam_settings;

typedef struct {
    int64_t n;
} cnf_rmsprop;

typedef struct {
    double lr, alpha, eps, weight_decay, momentum;
} cnf_rmsprop_settings;

#ifdef __cplusplus
}
#endif
#endif
