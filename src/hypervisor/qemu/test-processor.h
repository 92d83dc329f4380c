/*
 * Tests of what libvirt tells of processors, and takes of those that are put together: parts of test-qemu.
 */
#pragma once

void test_processor_is_told(void);
void test_common_processor_is_given(void);
