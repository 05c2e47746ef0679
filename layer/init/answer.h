/* What a caller's kernel is told of its call (seccomp_unotify(2)). Who waits no more is told nothing. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

void answer_value(int listener, uint64_t id, long value);
void answer_failed(int listener, uint64_t id, int err);
/* It is to do what it was asked. */
void answer_left(int listener, uint64_t id);
/* `fd` as the lowest descriptor that is free there: its number, or -1. It stays ours too. */
long answer_descriptor(int listener, uint64_t id, int fd, bool kept_by_exec);
/* 0, and `fd`, which is taken, has the number of one of the caller's. */
void answer_in_place(int listener, uint64_t id, int fd, int number);
