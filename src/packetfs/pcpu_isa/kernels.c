#include "pfs_kernels.h"
