/* Chat messages at a fixed rate, and when a subscriber elsewhere is told of each: tests/bench/chat
 * runs it.
 *   chat_load CA-FILE RATE WARM-SECONDS SECONDS TEXT-BYTES
 * On stdin, then the end of file:
 *   send HOST:PORT TOKEN CONVERSATION USER DEVICE DEVICE-KEY    (hex; the only device that writes
 *                                                                there; epoch 1, no message yet)
 *   hear HOST:PORT TICKET                                       (of a member of some of them)
 * Each device has a connection of its own and seals its messages as every client does (one chain of
 * keys, AES-256, HMAC, a signature) before the clock runs. Message n is due n / RATE seconds after
 * the beginning, whatever became of those before it: latencies are from when it was due, so that
 * a cluster that stands still for a while is not measured by one message alone. One of a device
 * whose last one is not answered waits, and its time runs. The answer is a line of JSON. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/address.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/random.h"
#include "base/text.h"
#include "cli/client/http_answer.h"
#include "cli/client/json_reader.h"
#include "cli/client/problem.h"
#include "cli/load/latency.h"
#include "crypto/ratchet.h"
#include "crypto/tls_stream.h"

enum {
	BENCH_DEVICES_MAX = 1024,
	BENCH_ANSWER_BYTES_MAX = 4096,
	BENCH_FRAME_BYTES_MAX = 4096,
	BENCH_CONNECT_MS = 20 * 1000,
	BENCH_TAIL_MS = 20 * 1000, /* From the last that is due to the last that is told. */
};
#define NS_PER_S 1000000000ULL

struct bench;

struct line {
	struct bench *bench;
	struct tls_stream *stream;
	const struct tls_stream_handler *handler;
	char endpoint[ADDRESS_TEXT_BYTES_MAX + 1], secret[128]; /* Its token or ticket. */
	bool ready;
};

struct device {
	struct line line;
	unsigned number;
	struct chat_place place;
	struct key *key;
	struct buf requests;
	size_t *end; /* Of each request in requests. */
	unsigned sent, answered, told;
	uint64_t not_before_ns; /* After a refusal, as the node asks. */
	struct http_parse *parse;
	struct http_answer answer;
};

struct ear {
	struct line line;
	bool upgraded;
	struct buf in;
};

struct bench {
	uv_loop_t loop;
	uv_timer_t timer;
	struct tls_ctx *ctx;
	unsigned rate, text_bytes, each; /* each: messages of a device. */
	unsigned warm;			 /* ... of which so many are not counted. */
	struct device *device;
	struct ear *ear;
	size_t n_devices, n_ears;
	uint64_t begin_ns, end_ns, seal_ns;
	unsigned ready, told; /* Lines; devices of which all is told. */
	bool started;
	struct latency answers, news;
	uint64_t events, refused;
};

static void must(int rc, const struct err *e, const char *what)
{
	if (rc != 0) {
		(void)fprintf(stderr, "chat_load: %s: %s: %s\n", what, err_name(rc), e->text);
		exit(1);
	}
}

static void give_up(const char *what)
{
	(void)fprintf(stderr, "chat_load: %s\n", what);
	exit(1);
}

/* --- messages ------------------------------------------------------------------------------- */

static void device_seal(struct device *d, struct ratchet *chain, struct bytes text, unsigned i)
{
	struct chat_spec spec = {.sym = SYM_AES_256, .type = CHAT_TEXT, .payload = text};
	_cleanup_(buf_release) struct buf message = BUF_INIT;
	char conv[2 * ID_BYTES + 1], head[512];
	struct err e = {0};
	int n;

	must(ratchet_seal(chain, &spec, d->key, &message, &e), &e, "seal");
	hex_encode(bytes_of(d->place.conv_id, ID_BYTES), conv);
	n = snprintf(head, sizeof head,
		"POST /v1/conversations/%s/messages HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer "
		"%s\r\nContent-Type: application/octet-stream\r\nContent-Length: %zu\r\n\r\n",
		conv, d->line.endpoint, d->line.secret, message.len);
	assert(n > 0 && (size_t)n < sizeof head);
	buf_append(&d->requests, head, (size_t)n);
	buf_append(&d->requests, message.data, message.len);
	d->end[i] = d->requests.len;
}

static void device_prepare(struct device *d)
{
	static const uint8_t none[HASH_BYTES];
	struct bench *b = d->line.bench;
	_cleanup_(x_freep) char *text = x_malloc(b->text_bytes + 1);
	_cleanup_(ratchet_release) struct ratchet chain = {.next = 0};
	uint8_t secret[CHAT_KEY_BYTES];

	random_fill(&random_system, secret, sizeof secret);
	memset(text, 'a', b->text_bytes);
	ratchet_init(&chain, true, &d->place, bytes_of(secret, sizeof secret), none);
	d->end = x_calloc(b->each, sizeof *d->end);
	for (unsigned i = 0; i < b->each; i++) {
		device_seal(d, &chain, bytes_of(text, b->text_bytes), i);
	}
}

static uint64_t device_due_ns(const struct device *d, unsigned i)
{
	const struct bench *b = d->line.bench;

	return b->begin_ns + ((uint64_t)i * b->n_devices + d->number) * NS_PER_S / b->rate;
}

static void device_count(const struct device *d, unsigned i, struct latency *latency)
{
	if (i >= d->line.bench->warm) {
		latency_add(latency, uv_hrtime() - device_due_ns(d, i));
	}
}

/* The next one, if it is due and the one before was answered. */
static void device_send(struct device *d, uint64_t now_ns)
{
	size_t begin = d->sent == 0 ? 0 : d->end[d->sent - 1];

	if (d->sent == d->answered && d->sent < d->line.bench->each &&
		now_ns >= device_due_ns(d, d->sent) && now_ns >= d->not_before_ns) {
		d->parse = http_parse_new(&d->answer, BENCH_ANSWER_BYTES_MAX, false);
		tls_stream_write(d->line.stream,
			bytes_of(d->requests.data + begin, d->end[d->sent] - begin));
		tls_stream_flush(d->line.stream);
		d->sent++;
	}
}

/* --- connections ---------------------------------------------------------------------------- */

static void line_ready(struct line *line)
{
	assert(!line->ready);
	line->ready = true;
	line->bench->ready++;
}

static void line_end_cb(struct tls_stream *stream, int rc, const struct err *e)
{
	(void)stream;
	must(rc == 0 ? KLUIS_ECLOSED : rc, e, "a connection ended");
}

static void line_closed_cb(struct tls_stream *stream)
{
	struct line *line = tls_stream_data(stream);

	line->stream = NULL;
}

static void line_dial(struct line *line)
{
	struct address_found found;
	struct address address;
	struct err e = {0};
	size_t n;

	must(address_parse(line->endpoint, &address, &e), &e, line->endpoint);
	must(address_resolve(&address, &found, 1, &n, &e), &e, line->endpoint);
	must(tls_stream_dial(&line->bench->loop, (const struct sockaddr *)&found.storage,
		     line->bench->ctx, address.host, line->handler, line, &line->stream, &e),
		&e, line->endpoint);
}

static void device_ready_cb(struct tls_stream *stream)
{
	tls_stream_keep_buffers(stream, true);
	line_ready(tls_stream_data(stream));
}

/* What a later attempt can change is sent again, byte for byte, as every client does. */
static void device_refused(struct device *d)
{
	struct err e = {0};
	struct problem problem = problem_of(&d->answer, &e);

	if (!err_retryable(problem.code)) {
		must(problem.code, &e, "a message was refused");
	}
	d->line.bench->refused++;
	d->sent = d->answered;
	d->not_before_ns = uv_hrtime() + problem.retry_after_ms * (NS_PER_S / 1000);
}

static size_t device_read_cb(struct tls_stream *stream, struct bytes bytes)
{
	struct device *d =
		CONTAINER_OF((struct line *)tls_stream_data(stream), struct device, line);
	struct err e = {0};
	bool done = false;

	if (d->parse == NULL) {
		give_up("an answer to nothing");
	}
	must(http_parse_feed(d->parse, bytes, &done, &e), &e, "answer");
	if (done) {
		http_parse_free(d->parse);
		d->parse = NULL;
		if (d->answer.status == 201) {
			device_count(d, d->answered, &d->line.bench->answers);
			d->answered++;
		} else {
			device_refused(d);
		}
		device_send(d, uv_hrtime());
	}
	return bytes.len;
}

static const struct tls_stream_handler device_handler = {
	.ready_cb = device_ready_cb,
	.read_cb = device_read_cb,
	.end_cb = line_end_cb,
	.closed_cb = line_closed_cb,
};

/* --- subscribers ---------------------------------------------------------------------------- */

/* All messages of the conversation up to seq are told. */
static void bench_told(struct bench *b, const uint8_t conv_id[ID_BYTES], uint64_t seq)
{
	for (size_t i = 0; i < b->n_devices; i++) {
		struct device *d = &b->device[i];

		if (memcmp(d->place.conv_id, conv_id, ID_BYTES) != 0) {
			continue;
		}
		if (seq > (uint64_t)d->answered + 1) {
			give_up("a message that was not sent is told");
		}
		while (d->told < seq) {
			device_count(d, d->told++, &b->news);
		}
		b->told += seq == b->each;
	}
}

static void ear_event(struct ear *ear, struct bytes text)
{
	_cleanup_(json_dropp) json_t *event = NULL;
	struct bench *b = ear->line.bench;
	uint8_t conv_id[ID_BYTES];
	struct json_reader r;
	struct err e = {0};
	const char *type;
	uint64_t seq;

	must(json_object_parse(text, &event, &e), &e, "event");
	r = json_reader_of(event);
	type = json_reader_string(&r, "type");
	if (type != NULL && strcmp(type, "resync") == 0) {
		if (ear->line.ready) {
			give_up("a subscriber was told to fetch everything again");
		}
		line_ready(&ear->line); /* The first one of a subscriber that knows nothing yet. */
	} else if (type != NULL && strcmp(type, "message") == 0) {
		json_reader_hex(&r, "object", conv_id, sizeof conv_id);
		seq = json_reader_u64(&r, "seq");
		must(json_reader_end(&r, "event", &e), &e, "event");
		b->events++;
		bench_told(b, conv_id, seq);
	}
}

/* One frame of RFC 6455 from the front; false: more is needed. */
static bool ear_frame(struct ear *ear)
{
	const uint8_t *p = ear->in.data;
	size_t head = 2, len;

	if (ear->in.len < 4) {
		return false;
	}
	len = p[1];
	if (len == 126) {
		head = 4;
		len = (size_t)p[2] << 8 | p[3];
	}
	if (len > BENCH_FRAME_BYTES_MAX || (p[0] != 0x81 && p[0] != 0x89)) {
		give_up("the node closed a WebSocket, or sent a frame that no event is");
	}
	if (ear->in.len < head + len) {
		return false;
	}
	if (p[0] == 0x81) {
		ear_event(ear, bytes_of(p + head, len));
	} else { /* A ping, which is empty or short: the mask is zero. */
		const uint8_t pong[6] = {0x8a, (uint8_t)(0x80 | len)};

		tls_stream_write(ear->line.stream, bytes_of(pong, sizeof pong));
		tls_stream_write(ear->line.stream, bytes_of(p + head, len));
	}
	buf_consume(&ear->in, head + len);
	return true;
}

static void ear_ready_cb(struct tls_stream *stream)
{
	struct line *line = tls_stream_data(stream);
	char head[512];
	int n = snprintf(head, sizeof head,
		"GET /v1/events?ticket=%s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\n"
		"Connection: Upgrade\r\nSec-WebSocket-Key: AAECAwQFBgcICQoLDA0ODw==\r\n"
		"Sec-WebSocket-Version: 13\r\n\r\n",
		line->secret, line->endpoint);

	assert(n > 0 && (size_t)n < sizeof head);
	tls_stream_keep_buffers(stream, true);
	tls_stream_write(stream, bytes_of(head, (size_t)n));
}

static size_t ear_read_cb(struct tls_stream *stream, struct bytes bytes)
{
	struct ear *ear = CONTAINER_OF((struct line *)tls_stream_data(stream), struct ear, line);

	buf_append(&ear->in, bytes.data, bytes.len);
	if (!ear->upgraded) {
		const uint8_t *end = memmem(ear->in.data, ear->in.len, "\r\n\r\n", 4);

		if (end == NULL) {
			return bytes.len;
		}
		if (memcmp(ear->in.data, "HTTP/1.1 101", 12) != 0) {
			give_up("a WebSocket was refused");
		}
		ear->upgraded = true;
		buf_consume(&ear->in, (size_t)(end - ear->in.data) + 4);
	}
	while (ear_frame(ear)) {
	}
	return bytes.len;
}

static const struct tls_stream_handler ear_handler = {
	.ready_cb = ear_ready_cb,
	.read_cb = ear_read_cb,
	.end_cb = line_end_cb,
	.closed_cb = line_closed_cb,
};

/* --- the run -------------------------------------------------------------------------------- */

static void hex_must(const char *text, uint8_t *to, size_t len)
{
	if (hex_decode(text, to, len) != 0) {
		give_up("wrong hex in the plan");
	}
}

static void bench_add_device(struct bench *b, const char *conv, const char *user,
	const char *device, const char *scalar, struct device *d)
{
	uint8_t private[32];
	struct err e = {0};

	d->number = (unsigned)b->n_devices++;
	d->place.epoch = 1;
	hex_must(conv, d->place.conv_id, ID_BYTES);
	hex_must(user, d->place.user_id, ID_BYTES);
	hex_must(device, d->place.device_id, ID_BYTES);
	hex_must(scalar, private, sizeof private);
	must(key_decode(KEY_ECDSA_P256, bytes_of(private, sizeof private), &d->key, &e), &e, "key");
}

static void line_init(struct bench *b, struct line *line, const char *endpoint, const char *secret,
	const struct tls_stream_handler *handler)
{
	*line = (struct line){.bench = b, .handler = handler};
	(void)snprintf(line->endpoint, sizeof line->endpoint, "%s", endpoint);
	(void)snprintf(line->secret, sizeof line->secret, "%s", secret);
}

static void bench_read_plan(struct bench *b)
{
	char text[1024], endpoint[256], secret[128], conv[40], user[40], device[40], scalar[80];

	while (fgets(text, sizeof text, stdin) != NULL) {
		if (b->n_devices == BENCH_DEVICES_MAX || b->n_ears == BENCH_DEVICES_MAX) {
			give_up("too many devices");
		}
		if (sscanf(text, "send %255s %127s %39s %39s %39s %79s", endpoint, secret, conv,
			    user, device, scalar) == 6) {
			struct device *d = &b->device[b->n_devices];

			line_init(b, &d->line, endpoint, secret, &device_handler);
			bench_add_device(b, conv, user, device, scalar, d);
		} else if (sscanf(text, "hear %255s %127s", endpoint, secret) == 2) {
			line_init(b, &b->ear[b->n_ears++].line, endpoint, secret, &ear_handler);
		} else {
			give_up("the plan has a line that is none");
		}
	}
	if (b->n_devices == 0 || b->n_ears == 0) {
		give_up("nobody sends, or nobody hears");
	}
}

static void bench_connect(struct bench *b)
{
	uint64_t end_ns = uv_hrtime() + BENCH_CONNECT_MS * (NS_PER_S / 1000);

	for (size_t i = 0; i < b->n_ears; i++) { /* Tickets end. */
		line_dial(&b->ear[i].line);
	}
	for (size_t i = 0; i < b->n_devices; i++) {
		line_dial(&b->device[i].line);
	}
	while (b->ready < b->n_ears + b->n_devices) {
		if (uv_hrtime() > end_ns) {
			give_up("not all could connect in time");
		}
		(void)uv_run(&b->loop, UV_RUN_ONCE);
	}
}

static void bench_tick_cb(uv_timer_t *timer)
{
	struct bench *b = timer->data;
	uint64_t now_ns = uv_hrtime();

	for (size_t i = 0; b->started && i < b->n_devices; i++) {
		device_send(&b->device[i], now_ns);
	}
}

static void bench_seal(struct bench *b, unsigned warm_s, unsigned seconds)
{
	uint64_t begun_ns = uv_hrtime();

	b->each = (unsigned)((uint64_t)b->rate * (warm_s + seconds) / b->n_devices);
	b->warm = (unsigned)((uint64_t)b->rate * warm_s / b->n_devices);
	for (size_t i = 0; i < b->n_devices; i++) {
		device_prepare(&b->device[i]);
	}
	b->seal_ns = uv_hrtime() - begun_ns;
}

static void bench_run(struct bench *b)
{
	uv_update_time(&b->loop);
	b->begin_ns = uv_hrtime();
	b->end_ns = device_due_ns(&b->device[b->n_devices - 1], b->each - 1);
	b->started = true;
	while (b->told < b->n_devices) {
		if (uv_hrtime() > b->end_ns + BENCH_TAIL_MS * (NS_PER_S / 1000)) {
			give_up("not every message was told in time");
		}
		(void)uv_run(&b->loop, UV_RUN_ONCE);
	}
}

static double ms(uint64_t ns)
{
	return (double)ns / 1e6;
}

static void bench_report(const struct bench *b, uint64_t cpu_ns)
{
	double all = (double)b->each * (double)b->n_devices;

	(void)printf("{\"messages\": %llu, \"per_second\": %.1f, \"told_p50_ms\": %.2f, "
		     "\"told_p99_ms\": %.2f, \"told_p999_ms\": %.2f, \"told_max_ms\": %.2f, "
		     "\"answer_p50_ms\": %.2f, \"answer_p99_ms\": %.2f, \"events_per_message\": "
		     "%.3f, \"client_us\": %.1f, \"seal_us\": %.1f, \"refused\": %llu}\n",
		(unsigned long long)b->news.n, all * 1e9 / (double)(uv_hrtime() - b->begin_ns),
		ms(latency_at(&b->news, 500)), ms(latency_at(&b->news, 990)),
		ms(latency_at(&b->news, 999)), ms(b->news.max_ns), ms(latency_at(&b->answers, 500)),
		ms(latency_at(&b->answers, 990)), (double)b->events / all,
		(double)cpu_ns / 1e3 / all, (double)b->seal_ns / 1e3 / all,
		(unsigned long long)b->refused);
}

static void bench_release(struct bench *b)
{
	uv_close((uv_handle_t *)&b->timer, NULL);
	for (size_t i = 0; i < b->n_devices; i++) {
		tls_stream_abort(b->device[i].line.stream);
	}
	for (size_t i = 0; i < b->n_ears; i++) {
		tls_stream_abort(b->ear[i].line.stream);
	}
	(void)uv_run(&b->loop, UV_RUN_DEFAULT);
	(void)uv_loop_close(&b->loop);
	for (size_t i = 0; i < b->n_devices; i++) {
		struct device *d = &b->device[i];

		http_parse_free(d->parse);
		http_answer_release(&d->answer);
		buf_release(&d->requests);
		free(d->end);
		key_free(d->key);
	}
	for (size_t i = 0; i < b->n_ears; i++) {
		buf_release(&b->ear[i].in);
	}
	tls_ctx_unref(b->ctx);
	free(b->device);
	free(b->ear);
}

static uint64_t cpu_ns(void)
{
	struct timespec time;

	(void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time); /* There since Linux 2.6.12. */
	return (uint64_t)time.tv_sec * NS_PER_S + (uint64_t)time.tv_nsec;
}

static unsigned number(const char *text)
{
	char *end;
	unsigned long value = strtoul(text, &end, 10);

	if (*end != '\0' || value > 1000000) {
		give_up("a number is wrong");
	}
	return (unsigned)value;
}

int main(int argc, char **argv)
{
	static const char *const alpn[] = {TLS_ALPN_HTTP1};
	_cleanup_(buf_release) struct buf ca = BUF_INIT;
	struct bench bench = {.n_devices = 0};
	struct err e = {0};
	uint64_t cpu;

	if (argc != 6) {
		give_up("CA-FILE RATE WARM-SECONDS SECONDS TEXT-BYTES");
	}
	must(file_read(argv[1], 1 << 20, &ca, &e), &e, argv[1]);
	bench.rate = number(argv[2]);
	bench.text_bytes = number(argv[5]);
	bench.device = x_calloc(BENCH_DEVICES_MAX, sizeof *bench.device);
	bench.ear = x_calloc(BENCH_DEVICES_MAX, sizeof *bench.ear);
	must(tls_ctx_new_client(buf_bytes(&ca), alpn, 1, &bench.ctx, &e), &e, "TLS");
	(void)uv_loop_init(&bench.loop);
	(void)uv_timer_init(&bench.loop, &bench.timer);
	bench.timer.data = &bench;
	(void)uv_timer_start(&bench.timer, bench_tick_cb, 1, 1);
	bench_read_plan(&bench);
	bench_connect(&bench);
	bench_seal(&bench, number(argv[3]), number(argv[4]));
	cpu = cpu_ns();
	bench_run(&bench);
	bench_report(&bench, cpu_ns() - cpu);
	bench_release(&bench);
	return 0;
}
