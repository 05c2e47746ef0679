/* Methods whose requests may be said twice. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* Safe (RFC 9110 9.2.1): GET, HEAD, OPTIONS, TRACE. PUT and DELETE would do as well (9.2.2), and clients do not repeat them. */
bool http_method_is_safe(const void *method, size_t n);
