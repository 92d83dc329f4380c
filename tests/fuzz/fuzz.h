/*
 * What every fuzzer of this folder offers: the entry point of libFuzzer and some valid inputs. Linked with
 * fuzz-main.c it is a plain program that mutates these inputs with a seed (any compiler); with `clang
 * -fsanitize=fuzzer,address` and without fuzz-main.c it is a libFuzzer target.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

/* Always returns 0; a defect shows as a crash, a failed assertion or a sanitizer's report. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Texts to start from, NULL at the end. */
extern const char *const fuzz_seeds[];
