/*
 * What every fuzzer of this folder offers: the entry point of libFuzzer and some valid inputs. Linked with
 * fuzz-main.c it is a plain program that mutates these inputs with a seed (any compiler). With libFuzzer:
 *   CC=clang meson setup build-fuzz -Dlibfuzzer=true -Db_sanitize=address,undefined -Db_lundef=false
 *   ninja -C build-fuzz && mkdir corpus && build/tests/fuzz/fuzz-model --seeds corpus
 *   build-fuzz/tests/fuzz/fuzz-model -max_total_time=600 corpus
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

/* Always returns 0; a defect shows as a crash, a failed assertion or a sanitizer's report. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Texts to start from, NULL at the end. */
extern const char *const fuzz_seeds[];

/* For targets that read files: a folder of this process, removed at its end. */
const char *fuzz_folder(void);
/* Replaces FOLDER/NAME; parents are made. No fsync: it need not survive anything. */
void fuzz_write(const char *name, const void *data, size_t size);
