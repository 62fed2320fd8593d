#include "cli/load/load_report.h"

static json_t *report_us(uint64_t ns)
{
	return json_integer((json_int_t)((ns + 500) / 1000));
}

static json_t *report_row(const char *op, const struct load_result *result, unsigned kind)
{
	static const struct {
		const char *key;
		unsigned permille;
	} points[] = {{"p50_us", 500}, {"p90_us", 900}, {"p99_us", 990}, {"max_us", 1000}};
	const struct latency *latency = &result->latency[kind];
	double seconds = (double)result->elapsed_ns / 1e9;
	json_t *row = json_pack("{s:s, s:I, s:f, s:f}", "op", op, "requests",
		(json_int_t)latency->n, "requests_per_second",
		seconds > 0 ? (double)latency->n / seconds : 0.0, "mb_per_second",
		seconds > 0 ? (double)result->payload_bytes[kind] / 1e6 / seconds : 0.0);

	for (size_t i = 0; i < ARRAY_SIZE(points); i++) {
		(void)json_object_set_new(
			row, points[i].key, report_us(latency_at(latency, points[i].permille)));
	}
	(void)json_object_set_new(row, "mean_us", report_us(latency_mean(latency)));
	return row;
}

static json_t *report_errors(const struct load_result *result)
{
	json_t *errors = json_object();

	for (int code = 1; code < (int)KLUIS_ERROR_MAX; code++) {
		if (result->errors[code] > 0) {
			(void)json_object_set_new(errors, err_name(-code),
				json_integer((json_int_t)result->errors[code]));
		}
	}
	return errors;
}

json_t *load_report(const struct load_result *result, unsigned read_percent)
{
	json_t *rows = json_array();
	double elapsed = (double)result->elapsed_ns;
	double requests = (double)(result->latency[LOAD_GET].n + result->latency[LOAD_PUT].n);

	if (read_percent > 0) {
		(void)json_array_append_new(rows, report_row("get", result, LOAD_GET));
	}
	if (read_percent < 100) {
		(void)json_array_append_new(rows, report_row("put", result, LOAD_PUT));
	}
	return json_pack("{s:f, s:f, s:o, s:o, s:I, s:f}", "seconds", elapsed / 1e9,
		"requests_per_second", elapsed > 0 ? requests * 1e9 / elapsed : 0.0, "items", rows,
		"errors", report_errors(result), "gap_us", (json_int_t)(result->gap_ns / 1000),
		"generator_cpu", elapsed > 0 ? (double)result->cpu_ns / elapsed : 0.0);
}
