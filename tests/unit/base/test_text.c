/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers, units, encodings and dates. */
#include "../test.h"

#include <pailfs/buf.h>
#include <pailfs/text.h>

static void parses_sizes(void **state)
{
	static const struct {
		const char *text;
		int rc;
		uint64_t bytes;
	} cases[] = {
	    {"0", 0, 0},
	    {"1", 0, 1},
	    {"64M", 0, 64 * MIB},
	    {"64m", 0, 64 * MIB},
	    {"64MiB", 0, 64 * MIB},
	    {"64MB", 0, 64 * MIB},
	    {"5G", 0, 5 * GIB},
	    {"1T", 0, 1024 * GIB},
	    {"512B", 0, 512},
	    {"18446744073709551615", 0, UINT64_MAX},
	    {"18446744073709551616", -ERANGE, 0},
	    {"17179869184G", -ERANGE, 0},
	    {"", -EINVAL, 0},
	    {"M", -EINVAL, 0},
	    {"-1", -EINVAL, 0},
	    {"+1", -EINVAL, 0},
	    {"1.5M", -EINVAL, 0},
	    {" 1", -EINVAL, 0},
	    {"1 ", -EINVAL, 0},
	    {"1X", -EINVAL, 0},
	    {"0x10", -EINVAL, 0},
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t bytes = 0;

		assert_int_equal(text_parse_size(cases[i].text, &bytes), cases[i].rc);
		assert_int_equal(bytes, cases[i].bytes);
	}
}

static void rates_are_powers_of_a_thousand(void **state)
{
	uint64_t rate;

	assert_int_equal(text_parse_rate("50M", &rate), 0);
	assert_int_equal(rate, 50000000);
	assert_int_equal(text_parse_rate("5k", &rate), 0);
	assert_int_equal(rate, 5000);
}

static void parses_durations(void **state)
{
	uint64_t ns;

	assert_int_equal(text_parse_duration("1", &ns), 0);
	assert_int_equal(ns, NS_PER_S);
	assert_int_equal(text_parse_duration("250ms", &ns), 0);
	assert_int_equal(ns, 250 * NS_PER_MS);
	assert_int_equal(text_parse_duration("2h", &ns), 0);
	assert_int_equal(ns, 7200 * NS_PER_S);
	assert_int_equal(text_parse_duration("forever", &ns), 0);
	assert_true(ns == UINT64_MAX);
	assert_int_equal(text_parse_duration("1y", &ns), -EINVAL);
	assert_int_equal(text_parse_duration("99999999999999999d", &ns), -ERANGE);
}

static void parses_octal_modes(void **state)
{
	unsigned mode;

	assert_int_equal(text_parse_octal("0644", &mode), 0);
	assert_int_equal(mode, 0644);
	assert_int_equal(text_parse_octal("10000", &mode), -ERANGE);
	assert_int_equal(text_parse_octal("0888", &mode), -EINVAL);
	assert_int_equal(text_parse_octal("", &mode), -EINVAL);
}

static void url_encoding_comes_back_for_every_byte(void **state)
{
	char all[256], encoded[3 * 256 + 1], decoded[3 * 256 + 1];
	size_t n;
	int i;

	for (i = 0; i < 256; i++)
		all[i] = (char)i;
	n = text_url_encode(all, sizeof(all), true, encoded);
	assert_int_equal(n, text_url_encoded_length(all, sizeof(all), true));
	assert_int_equal(text_url_decode(encoded, n, false, decoded), 256);
	assert_memory_equal(all, decoded, 256);
	assert_non_null(strstr(encoded, "%20%21"));
	assert_non_null(strstr(encoded, "-./0"));
	assert_non_null(strstr(encoded, "%7D~%7F"));
}

static void url_decoding_refuses_broken_escapes(void **state)
{
	static const char *const bad[] = {"%", "%1", "a%", "%zz", "%1g", "%-1"};
	char dst[16];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(text_url_decode(bad[i], strlen(bad[i]), true, dst), -EINVAL);
	assert_int_equal(text_url_decode("a+b%2B", 6, true, dst), 4);
	assert_memory_equal(dst, "a b+", 4);
	assert_int_equal(text_url_decode("a+b", 3, false, dst), 3);
	assert_memory_equal(dst, "a+b", 3);
}

static void parses_dates_of_all_three_http_forms(void **state)
{
	static const char *const same[] = {"Sun, 06 Nov 1994 08:49:37 GMT",
					   "Sunday, 06-Nov-94 08:49:37 GMT",
					   "Sun Nov  6 08:49:37 1994"};
	struct timespec ts;
	time_t t;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(same); i++) {
		assert_int_equal(text_parse_http_date(same[i], &t), 0);
		assert_int_equal(t, 784111777);
	}
	assert_int_equal(text_parse_http_date("yesterday", &t), -EINVAL);
	assert_int_equal(text_parse_http_date("Sun, 06 Foo 1994 08:49:37 GMT", &t), -EINVAL);
	assert_int_equal(text_parse_iso8601("2015-08-30T12:36:00.250Z", &ts), 0);
	assert_int_equal(ts.tv_sec, 1440938160);
	assert_int_equal(ts.tv_nsec, 250000000);
	assert_int_equal(text_parse_iso8601("2015-13-30T12:36:00Z", &ts), -EINVAL);
	assert_int_equal(text_parse_iso8601("2015-08-30", &ts), -EINVAL);
	assert_int_equal(text_parse_iso8601("2015- 8-30T12:36:00Z", &ts), -EINVAL);
	assert_int_equal(text_parse_iso8601("2015-08-30T12:36:0", &ts), -EINVAL);
	assert_int_equal(text_parse_iso8601("0000-01-01T00:00:00Z", &ts), -EINVAL);
	assert_int_equal(text_parse_iso8601("2015-08-30T12:36:00Zjunk", &ts), -EINVAL);
}

/* The second of each day's noon, against the calendar of the C library. */
static void parses_every_day_of_four_centuries(void **state)
{
	time_t noon = -INT64_C(11644473600) + 12 * 3600; /* 1601-01-01 */
	struct timespec ts;
	struct tm tm;
	char text[32];

	for (int day = 0; day < 146097 + 366; day++, noon += 24 * 3600) {
		gmtime_r(&noon, &tm);
		strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
		assert_int_equal(text_parse_iso8601(text, &ts), 0);
		assert_int_equal(ts.tv_sec, noon);
	}
}

static void makes_text_printable(void **state)
{
	char dst[32];

	assert_string_equal(text_printable("a\nb", 3, dst, sizeof(dst)), "a\\x0ab");
	assert_string_equal(text_printable("\xc3\xa4", 2, dst, sizeof(dst)), "\xc3\xa4");
	assert_string_equal(text_printable("\xff\xc3", 2, dst, sizeof(dst)), "\\xff\\xc3");
	assert_string_equal(text_printable("\xed\xa0\x80", 3, dst, sizeof(dst)),
			    "\\xed\\xa0\\x80"); /* a surrogate is no UTF-8 */
	assert_string_equal(
	    text_printable("0123456789012345678901234567890123456789", 40, dst, sizeof(dst)),
	    "0123456789012345678901234...");
}

static void formats_sizes_as_people_read_them(void **state)
{
	char dst[32];

	assert_string_equal(text_format_size(64 * MIB, dst, sizeof(dst)), "64 MiB");
	assert_string_equal(text_format_size(GIB + GIB / 2, dst, sizeof(dst)), "1.5 GiB");
	assert_string_equal(text_format_size(700, dst, sizeof(dst)), "700 B");
	assert_string_equal(text_format_rate(50000000, dst, sizeof(dst)), "50 MB/s");
}

static void a_buffer_stops_at_its_cap(void **state)
{
	CLEANUP(buf_finish) struct buf b = {.cap = 10};
	char *taken;

	assert_int_equal(buf_append_str(&b, "0123456789"), 0);
	assert_int_equal(buf_append(&b, "x", 1), -EMSGSIZE);
	assert_int_equal(b.length, 10);
	assert_string_equal(b.data, "0123456789");
	buf_clear(&b);
	assert_int_equal(buf_printf(&b, "%d-%s", 7, "abc"), 0);
	taken = buf_take(&b);
	assert_string_equal(taken, "7-abc");
	free(taken);
	assert_int_equal(b.length, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(parses_sizes),
	    cmocka_unit_test(rates_are_powers_of_a_thousand),
	    cmocka_unit_test(parses_durations),
	    cmocka_unit_test(parses_octal_modes),
	    cmocka_unit_test(url_encoding_comes_back_for_every_byte),
	    cmocka_unit_test(url_decoding_refuses_broken_escapes),
	    cmocka_unit_test(parses_dates_of_all_three_http_forms),
	    cmocka_unit_test(parses_every_day_of_four_centuries),
	    cmocka_unit_test(makes_text_printable),
	    cmocka_unit_test(formats_sizes_as_people_read_them),
	    cmocka_unit_test(a_buffer_stops_at_its_cap),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
