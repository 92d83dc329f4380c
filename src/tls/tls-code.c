/* Crockford's base 32 (douglascrockford's "Base 32": no letter that is taken for a digit). */
#include "tls/tls-code.h"
#include <gnutls/crypto.h>
#include <string.h>
#include "tls/tls-internal.h"

enum { DIGITS = 8, HALF = 4, KEY_BYTES = 32, ITERATIONS = 600000 };

static const char alphabet[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

char *tls_code_make(void) {
    unsigned char bytes[DIGITS];
    char *code = g_malloc(TLS_CODE_LENGTH + 1);
    g_assert(gnutls_rnd(GNUTLS_RND_KEY, bytes, sizeof bytes) == 0);
    for (size_t i = 0; i < DIGITS; i++)
        code[i + (i >= HALF)] = alphabet[bytes[i] % 32]; /* 256 is a multiple: all are alike */
    code[HALF] = '-';
    code[TLS_CODE_LENGTH] = '\0';
    return code;
}

static char understood(char typed) {
    char letter = g_ascii_toupper(typed);
    return letter == 'O' ? '0' : letter == 'I' || letter == 'L' ? '1' : letter;
}

bool tls_code_parse(const char *text, char ret_code[TLS_CODE_LENGTH + 1], Error *err) {
    size_t n = 0;
    for (; *text; text++) {
        char letter = understood(*text);
        if (letter == '-' || letter == ' ')
            continue;
        if (!strchr(alphabet, letter) || n == DIGITS)
            break;
        ret_code[n + (n >= HALF)] = letter;
        n++;
    }
    if (*text || n != DIGITS)
        return error_set(err, ERROR_INVALID, "/enrol_code",
            "code: must be the %d letters and digits that the host shows, like 7H2K-9QLM", DIGITS);
    ret_code[HALF] = '-';
    ret_code[TLS_CODE_LENGTH] = '\0';
    return true;
}

static int make_proof(const unsigned char *key, const char *side, char *ret_text) {
    unsigned char digest[KEY_BYTES] = {0};
    int code = gnutls_hmac_fast(GNUTLS_MAC_SHA256, key, KEY_BYTES, side, strlen(side), digest);
    tls_hex(digest, sizeof digest, ret_text);
    return code;
}

bool tls_code_prove(
    const char *code, const uint8_t binding[TLS_BINDING_BYTES], TlsProofs *ret_proofs, Error *err) {
    unsigned char key[KEY_BYTES];
    const gnutls_datum_t secret = tls_text_datum(code);
    const gnutls_datum_t salt = {(unsigned char *)(uintptr_t)binding, TLS_BINDING_BYTES};
    int result = gnutls_pbkdf2(GNUTLS_MAC_SHA256, &secret, &salt, ITERATIONS, key, sizeof key);
    if (result >= 0)
        result = make_proof(key, "lodge code, initiator", ret_proofs->initiator);
    if (result >= 0)
        result = make_proof(key, "lodge code, acceptor", ret_proofs->acceptor);
    gnutls_memset(key, 0, sizeof key);
    return result >= 0 || error_set(err, ERROR_INTERNAL, NULL, "the code's proof cannot be made: %s",
                              gnutls_strerror(result));
}

bool tls_proof_is(const char *expected, const char *shown) {
    return shown && strlen(shown) == TLS_PROOF_LENGTH &&
           gnutls_memcmp(expected, shown, TLS_PROOF_LENGTH) == 0;
}
