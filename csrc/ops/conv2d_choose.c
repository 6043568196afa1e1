/* conv2d_choose.c: which algorithm a convolution takes. */
#include <stdlib.h>
#include <string.h>

#include "winograd.h"

int64_t cnf_conv2d_choose(const cnf_conv2d *d, int direction)
{
    (void)direction;
    const char *forced = getenv("CNNFAST_CONV");
    if (!cnf_winograd_fits(d) || (forced && strcmp(forced, "direct") == 0))
        return CNF_CONV2D_DIRECT;
    if (forced && strcmp(forced, "winograd") == 0)
        return CNF_CONV2D_WINOGRAD;
    return CNF_CONV2D_DIRECT;
}
