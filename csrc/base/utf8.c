/* utf8.c: strict UTF-8. Holds no tables of characters beyond "is it a control character". */
#include "utf8.h"

static size_t sequence_length(unsigned char lead) {
    if (lead < 0x80) {
        return 1;
    }
    if (lead < 0xc2 || lead > 0xf4) {
        return 0;
    }
    return lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
}

size_t ds_utf8_sequence(const char *text, size_t left, uint32_t *code_point) {
    static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    if (left == 0) {
        return 0;
    }
    unsigned char lead = (unsigned char)text[0];
    size_t length = sequence_length(lead);
    if (length == 0 || length > left) {
        return 0;
    }
    uint32_t value = length == 1 ? lead : lead & (0x7fU >> length);
    for (size_t i = 1; i < length; i++) {
        unsigned char next = (unsigned char)text[i];
        if ((next & 0xc0U) != 0x80U) {
            return 0;
        }
        value = value << 6 | (next & 0x3fU);
    }
    if (value < smallest[length] || value > 0x10ffff || (value >= 0xd800 && value <= 0xdfff)) {
        return 0;
    }
    if (code_point != NULL) {
        *code_point = value;
    }
    return length;
}

bool ds_utf8_valid(const char *text, size_t length) {
    size_t at = 0;
    while (at < length) {
        size_t step = ds_utf8_sequence(text + at, length - at, NULL);
        if (step == 0) {
            return false;
        }
        at += step;
    }
    return true;
}

size_t ds_utf8_cut(const char *text, size_t length, size_t most) {
    if (length <= most) {
        return length;
    }
    size_t cut = most;
    /* At most three bytes back is the lead of the sequence that straddles the cut; malformed text is cut where it
     * is. */
    for (size_t back = 0; back < 4 && back <= most; back++) {
        if (((unsigned char)text[most - back] & 0xc0U) != 0x80U) {
            cut = most - back;
            break;
        }
    }
    return cut;
}

bool ds_is_control(uint32_t code_point) {
    return code_point < 0x20 || (code_point >= 0x7f && code_point < 0xa0);
}
