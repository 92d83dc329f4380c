/* What a user types: one argument a line. No file is opened: slashes are replaced, standard input is empty.
 */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>
#include "cli/arguments.h"
#include "cli/value.h"
#include "fuzz.h"

enum { MAX_SIZE = 16384, ARGUMENTS_MAX = 256 };

const char *const fuzz_seeds[] = {
    "vm\ncreate\nweb\n--count\n8\n--memory\n512M\n--start\n--clone=reflink\n--tag\na\n--disk\n{\"size\":1}\n",
    "vm\nupdate\nweb\n--vcpus\n2\n--unset\ndescription\n--no-protected\n",
    "vms\nlist\n-o\njson\n--filter\nname~a\n", "login\nhttps:--x\n",
    "template\nimport\nx\nhttp:x\n--sha256=00\n", "-h\n", "api\nGET\nx\n--data\n@x\n",
    "repository\ncreate\nmain\n--path=-srv\n--\n--x\n", "vm\nstop\na\nb\n--timeout=9999999999999999999\n",
    "1.5T\n", NULL};

static void take_words(char **words) {
    g_auto(Arguments) arguments = {0};
    g_auto(Error) err = {0};
    if (arguments_parse((int)g_strv_length(words), (const char *const *)words, &arguments, &err))
        g_free(json_to_text(arguments.parameters));
    else
        g_assert_true(error_is_set(&err));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    g_autofree char *text = g_strndup((const char *)data, MIN(size, MAX_SIZE));
    g_autofree char *line = g_strconcat("lodge\n", g_strdelimit(text, "/", '_'), NULL);
    g_auto(GStrv) words = g_strsplit(line, "\n", ARGUMENTS_MAX);
    uint64_t bytes = 0;
    int nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);
    dup2(nothing, STDIN_FILENO);
    close(nothing);
    g_assert_cmpint(chdir(fuzz_folder()), ==, 0);
    take_words(words);
    for (char **word = words; *word; word++)
        if (value_parse_size(*word, &bytes, NULL))
            g_free(value_size_text(bytes));
    return 0;
}
