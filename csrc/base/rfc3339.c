/* rfc3339.c: the calendar, computed: no locale, no time zone of the machine, no libc time functions. */
#include "rfc3339.h"

#define DAY_MS (INT64_C(24) * 60 * 60 * 1000)
#define FIRST_MS (INT64_C(-719528) * DAY_MS)        /* 0000-01-01 */
#define AFTER_MS (INT64_C(2932897) * DAY_MS)        /* 10000-01-01 */
#define ERA_DAYS INT64_C(146097)                    /* 400 years */
#define ERA_OFFSET (INT64_C(719468) + 5 * ERA_DAYS) /* days from 1 March -2000 to 1970: keeps sums positive */

/* A civil date as a number of days since 1970. Years begin in March here, so that the leap day is the last. */
static int64_t days_of(int64_t year, int64_t month, int64_t day) {
    int64_t shifted = year + 2000 - (month <= 2 ? 1 : 0);
    int64_t era = shifted / 400;
    int64_t year_of_era = shifted % 400;
    int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * ERA_DAYS + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - ERA_OFFSET;
}

static void date_of(int64_t days, int64_t *year, int64_t *month, int64_t *day) {
    int64_t sum = days + ERA_OFFSET;
    int64_t rest = sum % ERA_DAYS;
    int64_t year_of_era = (rest - rest / 1460 + rest / 36524 - rest / 146096) / 365;
    int64_t day_of_year = rest - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t from_march = (5 * day_of_year + 2) / 153;
    *day = day_of_year - (153 * from_march + 2) / 5 + 1;
    *month = from_march < 10 ? from_march + 3 : from_march - 9;
    *year = sum / ERA_DAYS * 400 + year_of_era - 2000 + (*month <= 2 ? 1 : 0);
}

static void put_digits(char *at, int64_t number, int width) {
    for (int i = width - 1; i >= 0; i--) {
        at[i] = (char)('0' + number % 10);
        number /= 10;
    }
}

bool ds_rfc3339_add(ds_buf *out, int64_t ms) {
    if (ms < FIRST_MS || ms >= AFTER_MS) {
        return false;
    }
    int64_t since = ms - FIRST_MS;
    int64_t of_day = since % DAY_MS;
    int64_t year = 0;
    int64_t month = 0;
    int64_t day = 0;
    date_of((since - of_day + FIRST_MS) / DAY_MS, &year, &month, &day);
    char text[] = "0000-00-00T00:00:00.000Z";
    put_digits(text, year, 4);
    put_digits(text + 5, month, 2);
    put_digits(text + 8, day, 2);
    put_digits(text + 11, of_day / 3600000, 2);
    put_digits(text + 14, of_day / 60000 % 60, 2);
    put_digits(text + 17, of_day / 1000 % 60, 2);
    put_digits(text + 20, of_day % 1000, 3);
    ds_buf_add(out, text, sizeof(text) - 1);
    return true;
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

typedef struct reader {
    const char *at;
    const char *end;
    bool bad;
} reader;

/* `width` digits whose number lies in [least, most]. */
static int64_t digits(reader *r, int width, int64_t least, int64_t most) {
    int64_t number = 0;
    for (int i = 0; i < width; i++) {
        if (r->at == r->end || *r->at < '0' || *r->at > '9') {
            r->bad = true;
            return 0;
        }
        number = number * 10 + (*r->at++ - '0');
    }
    r->bad = r->bad || number < least || number > most;
    return number;
}

/* One of the characters of `allowed`, or NUL. */
static char one_of(reader *r, const char *allowed) {
    for (; *allowed != '\0'; allowed++) {
        if (r->at < r->end && *r->at == *allowed) {
            r->at++;
            return *allowed;
        }
    }
    r->bad = true;
    return '\0';
}

static int64_t days_in(int64_t year, int64_t month) {
    int64_t next = month == 12 ? days_of(year + 1, 1, 1) : days_of(year, month + 1, 1);
    return next - days_of(year, month, 1);
}

static int64_t fraction_ms(reader *r) {
    if (r->at == r->end || *r->at != '.') {
        return 0;
    }
    r->at++;
    int64_t ms = 0;
    int64_t unit = 100;
    const char *first = r->at;
    while (r->at < r->end && *r->at >= '0' && *r->at <= '9') {
        ms += unit * (*r->at++ - '0');
        unit /= 10;
    }
    r->bad = r->bad || r->at == first;
    return ms;
}

static int64_t offset_ms(reader *r) {
    char sign = one_of(r, "Zz+-");
    if (sign != '+' && sign != '-') {
        return 0;
    }
    int64_t minutes = 60 * digits(r, 2, 0, 23);
    (void)one_of(r, ":");
    minutes += digits(r, 2, 0, 59);
    return minutes * (sign == '-' ? -60000 : 60000);
}

bool ds_rfc3339_read(const char *text, size_t length, int64_t *ms) {
    reader r = {text, text + length, false};
    int64_t year = digits(&r, 4, 0, 9999);
    (void)one_of(&r, "-");
    int64_t month = digits(&r, 2, 1, 12);
    (void)one_of(&r, "-");
    int64_t day = digits(&r, 2, 1, 31);
    (void)one_of(&r, "Tt ");
    int64_t seconds = 3600 * digits(&r, 2, 0, 23);
    (void)one_of(&r, ":");
    seconds += 60 * digits(&r, 2, 0, 59);
    (void)one_of(&r, ":");
    seconds += digits(&r, 2, 0, 60); /* 60: a leap second, counted as the first of the next minute */
    int64_t fraction = fraction_ms(&r);
    int64_t offset = offset_ms(&r);
    if (r.bad || r.at != r.end || day > days_in(year, month)) {
        return false;
    }
    *ms = days_of(year, month, day) * DAY_MS + seconds * 1000 + fraction - offset;
    return true;
}
