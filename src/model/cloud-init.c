#include "model/cloud-init.h"
#include <string.h>

bool cloud_init_check_user_data(const char *text, Error *err) {
    static const char *const beginnings[] = {"#cloud-config", "#!",
        "## template:", "Content-Type:", "MIME-Version:", "#include", "#cloud-boothook",
        "#cloud-config-archive", "#part-handler"};
    if (strlen(text) > CLOUD_INIT_USER_DATA_LIMIT)
        return error_set(err, ERROR_INVALID, "/user_data", "user_data: must have at most %d bytes",
            CLOUD_INIT_USER_DATA_LIMIT);
    for (size_t i = 0; i < G_N_ELEMENTS(beginnings); i++)
        if (g_str_has_prefix(text, beginnings[i]))
            return true;
    return error_set(err, ERROR_INVALID, "/user_data",
        "user_data: must begin with a line such as \"#cloud-config\" or \"#!/bin/sh\"");
}

bool cloud_init_check_network_config(const char *text, Error *err) {
    if (strlen(text) > CLOUD_INIT_NETWORK_LIMIT)
        return error_set(err, ERROR_INVALID, "/network_config", "network_config: must have at most %d bytes",
            CLOUD_INIT_NETWORK_LIMIT);
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    for (char **line = lines; *line; line++)
        if (g_str_equal(g_strstrip(*line), "version: 2"))
            return true;
    return error_set(
        err, ERROR_INVALID, "/network_config", "network_config: must have a line \"version: 2\"");
}
