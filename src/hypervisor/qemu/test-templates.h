/*
 * Templates for tests of the libvirt driver. Apart from them because src/image and the generated types both
 * have a type called Progress.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

/* Builds "bench-boot" and "tiny" into folders of those names. */
bool test_templates_build(const char *folder);
uint64_t test_template_memory(const char *name); /* bytes */
const char *test_template_command_line(const char *name);
