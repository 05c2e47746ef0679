/* lwIP's port to a C library: an assertion that fails ends the process like ours do. */
#pragma once

#include "native/fault.h"

#include "layer/netstack/memory.h"

#include <sys/types.h>

#define mem_clib_malloc memory_alloc
#define mem_clib_calloc memory_zeroed
#define mem_clib_free   memory_free

#define LWIP_PLATFORM_DIAG(x)
#define LWIP_PLATFORM_ASSERT(x) fault_impossible(__FILE__, __LINE__, x)
#define LWIP_NO_CTYPE_H         0
#define LWIP_TIMEVAL_PRIVATE    0
#define LWIP_ERRNO_STDINCLUDE   1
