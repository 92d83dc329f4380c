/* `lodge`: understands the arguments, opens the session, runs what was asked for. */
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include "cli/arguments.h"
#include "cli/completion.h"
#include "cli/help.h"
#include "cli/host-local.h"
#include "cli/login.h"
#include "cli/output.h"
#include "cli/run.h"
#include "cli/session.h"
#include "cli/value.h"

enum { BODY_LIMIT = 16 << 20 };

static bool run_api(const Arguments *arguments, Session *session, Error *err) {
    const GPtrArray *words = arguments->words;
    const char *data = arguments->options.values[CLI_OPTION_DATA];
    g_autofree char *text = NULL;
    g_autoptr(json_t) body = NULL, answer = NULL;
    size_t length = data ? strlen(data) : 0;
    if (words->len != 2 || ((const char *)words->pdata[1])[0] != '/')
        return error_set(err, ERROR_INVALID, NULL, "METHOD and PATH are needed, such as GET /v1/vms");
    if (data && (*data == '@' || g_str_equal(data, "-"))) {
        if (!value_read_input(*data == '@' ? data + 1 : data, BODY_LIMIT, &text, &length, err))
            return false;
        data = text;
    }
    if (data && !(body = json_parse(data, length, err)))
        return error_wrap(err, ERROR_NONE, "--data");
    g_autofree char *method = g_ascii_strup(words->pdata[0], -1);
    const SessionRequest request = {.method = method, .path = words->pdata[1], .body = body};
    if (!session_request(session, &request, &answer, err))
        return false;
    CliOptions options = arguments->options;
    if (!options.values[CLI_OPTION_OUTPUT])
        options.values[CLI_OPTION_OUTPUT] = "json";
    return json_is_null(answer) || output_value(&options, NULL, answer, err);
}

static bool run_find(const Arguments *arguments, Session *session, Error *err) {
    const char *word = arguments->words->len == 1 ? arguments->words->pdata[0] : NULL;
    g_autoptr(GString) path = g_string_new(methods[METHOD_MATCH_LIST].path);
    g_autoptr(json_t) matches = NULL;
    if (!word || strchr(word, ','))
        return error_set(err, ERROR_INVALID, NULL, "one word to look for is needed, without a comma");
    g_autofree char *filter = g_strconcat("text~", word, NULL);
    session_path_add(path, "filter", filter);
    if (!output_check_columns(&arguments->options, RESOURCE_MATCH, err) ||
        !session_list(session, path->str, 0, &matches, err))
        return false;
    if (json_array_size(matches) == 0 && output_is_human(&arguments->options))
        return error_set(err, ERROR_NOT_FOUND, NULL, "nothing has \"%s\" in it", word);
    return output_list(&arguments->options, RESOURCE_MATCH, matches, err);
}

static bool run_completion(const Arguments *arguments, Error *err) {
    g_autoptr(GString) out = g_string_new(NULL);
    if (arguments->words->len != 1)
        return error_set(err, ERROR_INVALID, NULL, "name a shell: bash, zsh or fish");
    return completion_script(arguments->words->pdata[0], out, err) && output_write(out, err);
}

static bool run_with_session(const Arguments *arguments, Error *err) {
    g_autoptr(Session) session = NULL;
    if (!session_open(&arguments->options, &session, err))
        return false;
    if (arguments->command == CLI_COMMAND_API)
        return run_api(arguments, session, err);
    if (arguments->command == CLI_COMMAND_FIND)
        return run_find(arguments, session, err);
    return run_method(arguments, session, err);
}

static bool run_help(const Arguments *arguments, Error *err) {
    g_autoptr(GString) out = g_string_new(NULL);
    return help_for(arguments, out, err) && output_write(out, err);
}

static bool run(const Arguments *arguments, Error *err) {
    bool is_named = arguments->command < CLI_COMMAND_MAX || arguments->resource < RESOURCE_MAX;
    if (cli_option_is(&arguments->options, CLI_OPTION_VERSION, false)) {
        g_autoptr(GString) out = g_string_new("lodge " LODGE_VERSION "\n");
        return output_write(out, err);
    }
    if (cli_option_is(&arguments->options, CLI_OPTION_HELP, false) || arguments->command == CLI_COMMAND_HELP)
        return run_help(arguments, err);
    if (!is_named)
        return error_set(err, ERROR_INVALID, NULL, "a noun and a verb are needed; `lodge help` lists them");
    if (arguments->resource < RESOURCE_MAX && arguments->method == METHOD_MAX)
        return error_set(err, ERROR_INVALID, NULL, "a verb is needed; `lodge %s --help` lists them",
            resources[arguments->resource].name);
    if (cli_option_is(&arguments->options, CLI_OPTION_HOST_LOCAL, false))
        return host_local_run(arguments, err);
    if (arguments->command == CLI_COMMAND_LOGIN)
        return login_run(arguments, err);
    if (arguments->command == CLI_COMMAND_COMPLETION)
        return run_completion(arguments, err);
    return run_with_session(arguments, err);
}

int main(int argc, char **argv) {
    setlocale(LC_CTYPE, "");
    signal(SIGPIPE, SIG_IGN);
    if (argc > 1 && g_str_equal(argv[1], "__complete")) {
        g_autoptr(GString) out = g_string_new(NULL);
        completion_candidates(argc - 2, (const char *const *)argv + 2, out);
        return output_write(out, NULL) ? 0 : 1;
    }
    g_auto(Arguments) arguments = {0};
    g_auto(Error) err = {0};
    if (arguments_parse(argc, (const char *const *)argv, &arguments, &err) && run(&arguments, &err))
        return 0;
    output_error(&err);
    return error_info(err.code)->exit_status;
}
