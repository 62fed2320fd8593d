#include "tests/lib/fake_node/fake_node.h"

#include <arpa/inet.h>
#include <assert.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <http_parser.h>
#include <openssl/pem.h>

#include "base/clock.h"
#include "base/random.h"
#include "base/text.h"
#include "tests/lib/fake_node/routes.h"

/* With the lock held: is this request one that the fault is for? */
static enum fake_fault strike(struct fake_node *n, const char *line)
{
	if (n->fault == FAKE_HONEST || strstr(line, n->match) == NULL) {
		return FAKE_HONEST;
	}
	if (n->skip > 0) {
		n->skip--;
		return FAKE_HONEST;
	}
	if (n->times == 0) {
		return FAKE_HONEST;
	}
	n->times--;
	n->struck++;
	return n->fault;
}

static int on_url(http_parser *p, const char *at, size_t len)
{
	struct fake_request *r = p->data;

	buf_append(&r->target, at, len);
	return 0;
}

static int on_field(http_parser *p, const char *at, size_t len)
{
	struct fake_request *r = p->data;

	if (r->in_value) {
		buf_clear(&r->name);
		r->in_value = false;
	}
	buf_append(&r->name, at, len);
	return 0;
}

static int on_value(http_parser *p, const char *at, size_t len)
{
	struct fake_request *r = p->data;

	r->in_value = true;
	if (strcmp(buf_str(&r->name), "Authorization") == 0) {
		buf_append(&r->auth, at, len);
	} else if (strcmp(buf_str(&r->name), "Kluis-Claims") == 0) {
		buf_append(&r->claims, at, len);
	}
	return 0;
}

static int on_body(http_parser *p, const char *at, size_t len)
{
	struct fake_request *r = p->data;

	buf_append(&r->body, at, len);
	return 0;
}

static int on_done(http_parser *p)
{
	struct fake_request *r = p->data;

	r->method = http_method_str(p->method);
	r->done = true;
	return 0;
}

static bool request_read(SSL *ssl, struct fake_request *r)
{
	static const http_parser_settings settings = {.on_url = on_url,
		.on_header_field = on_field,
		.on_header_value = on_value,
		.on_body = on_body,
		.on_message_complete = on_done};
	http_parser parser;
	char in[16384];

	http_parser_init(&parser, HTTP_REQUEST);
	parser.data = r;
	while (!r->done) {
		int got = SSL_read(ssl, in, sizeof in);

		if (got <= 0 ||
			http_parser_execute(&parser, &settings, in, (size_t)got) != (size_t)got) {
			return false;
		}
	}
	return true;
}

static bool ssl_write_all(SSL *ssl, const void *data, size_t len)
{
	return len == 0 || SSL_write(ssl, data, (int)len) == (int)len;
}

static void answer_head(const struct fake_node *n, const struct fake_request *r,
	enum fake_fault fault, struct buf *head)
{
	char lineage[HEX_LEN(ID_BYTES) + 1];

	hex_encode(bytes_of(n->lineage, ID_BYTES), lineage);
	buf_printf(head, "HTTP/1.1 %d X\r\nKluis-Index: %s:7\r\n", r->status, lineage);
	if (memmem(r->target.data, r->target.len, "consistency=stale", 17) != NULL) {
		buf_printf(head, "Kluis-Staleness-Ms: 1234\r\n");
	}
	if (r->type != NULL) {
		buf_printf(head, "Content-Type: %s\r\n", r->type);
	}
	if (fault == FAKE_HUGE) {
		buf_printf(head, "Content-Length: 1099511627776\r\n");
	} else if (fault != FAKE_NO_LENGTH && r->status != 204) {
		buf_printf(head, "Content-Length: %zu\r\n", r->out.len);
	}
	buf_printf(head, "\r\n");
}

/* False: close. */
static bool answer_write(
	SSL *ssl, struct fake_node *n, struct fake_request *r, enum fake_fault fault)
{
	struct buf head = BUF_INIT;
	size_t len = strcmp(r->method, "HEAD") == 0 ? 0 : r->out.len;
	bool ok;

	if (fault == FAKE_DROP_BEFORE || fault == FAKE_DROP_AFTER) {
		return false;
	}
	if (fault == FAKE_GARBAGE) {
		(void)ssl_write_all(ssl, "SSH-2.0-OpenSSH_9.2\r\n\r\n", 23);
		return false;
	}
	if (fault == FAKE_FLIP_BODY && len > 0) {
		r->out.data[len / 2] ^= 1;
	}
	answer_head(n, r, fault, &head);
	ok = ssl_write_all(ssl, head.data, head.len) &&
	     ssl_write_all(ssl, r->out.data, fault == FAKE_CUT_BODY ? len / 2 : len);
	buf_release(&head);
	return ok && fault != FAKE_CUT_BODY && fault != FAKE_HUGE && fault != FAKE_NO_LENGTH;
}

static enum fake_fault handle(struct fake_node *n, struct fake_request *r)
{
	char line[512];
	enum fake_fault fault;
	void (*before)(void *) = NULL;

	(void)snprintf(line, sizeof line, "%s %s", r->method, buf_str(&r->target));
	(void)pthread_mutex_lock(&n->lock);
	if (strstr(line, "/commits") != NULL && n->before_commit != NULL) {
		before = n->before_commit;
		n->before_commit = NULL;
	}
	(void)pthread_mutex_unlock(&n->lock);
	if (before != NULL) {
		before(n->before_arg); /* Talks to this node itself. */
	}
	(void)pthread_mutex_lock(&n->lock);
	if (n->n_log < FAKE_LOG_MAX) {
		n->log[n->n_log++] = x_strdup(line);
	}
	fault = strike(n, line);
	if (strstr(line, "/commits") != NULL) {
		store_note_head(&n->store, buf_bytes(&r->body));
	}
	if (fault != FAKE_STATUS && fault != FAKE_DROP_BEFORE) {
		fake_dispatch(n, r, fault);
	}
	if (fault == FAKE_STATUS || fault == FAKE_STATUS_DONE) {
		int code = n->status < 0 ? n->status : -1;

		buf_clear(&r->out);
		while (n->status > 0 && code > -(int)KLUIS_ERROR_MAX &&
			err_http_status(code) != n->status) {
			code--;
		}
		fake_problem(r, code);
		r->status = n->status > 0 ? n->status : r->status; /* Also one that none has. */
	}
	(void)pthread_mutex_unlock(&n->lock);
	return fault;
}

static void request_release(struct fake_request *r)
{
	buf_release(&r->target);
	buf_release(&r->body);
	buf_release(&r->auth);
	buf_release(&r->name);
	buf_release(&r->claims);
	buf_release(&r->out);
}

struct fake_conn {
	struct fake_node *node;
	int fd;
};

static void *conn_thread(void *arg)
{
	struct fake_conn *conn = arg;
	struct fake_node *n = conn->node;
	SSL *ssl = SSL_new(n->ctx);
	bool go_on;

	SSL_set_fd(ssl, conn->fd);
	go_on = SSL_accept(ssl) == 1;
	while (go_on) {
		struct fake_request r = {.node = n};

		go_on = request_read(ssl, &r);
		if (go_on) {
			enum fake_fault fault = handle(n, &r);

			go_on = answer_write(ssl, n, &r, fault);
		}
		request_release(&r);
	}
	SSL_free(ssl);
	(void)pthread_mutex_lock(&n->lock);
	for (size_t i = 0; i < n->n_conns; i++) {
		if (n->conn_fds[i] == conn->fd) {
			n->conn_fds[i] = -1;
		}
	}
	(void)close(conn->fd);
	(void)pthread_mutex_unlock(&n->lock);
	free(conn);
	return NULL;
}

static void *accept_thread(void *arg)
{
	struct fake_node *n = arg;

	for (;;) {
		int fd = accept(n->listener, NULL, NULL);
		struct fake_conn *conn;

		if (fd < 0) {
			return NULL;
		}
		(void)pthread_mutex_lock(&n->lock);
		if (n->stop || n->n_conns == FAKE_CONNS_MAX) {
			(void)close(fd);
			(void)pthread_mutex_unlock(&n->lock);
			if (n->stop) {
				return NULL;
			}
			continue;
		}
		conn = x_calloc(1, sizeof *conn);
		conn->node = n;
		conn->fd = fd;
		n->conn_fds[n->n_conns] = fd;
		if (pthread_create(&n->conns[n->n_conns], NULL, conn_thread, conn) != 0) {
			abort();
		}
		n->n_conns++;
		(void)pthread_mutex_unlock(&n->lock);
	}
}

static SSL_CTX *make_ctx(struct fake_node *n)
{
	static const char *const ips[] = {"127.0.0.1"};
	struct pki_spec spec = {.algorithm = PKI_EC_P256,
		.common_name = "fake",
		.wall_ms = clock_wall_ms(&clock_system),
		.days = 30,
		.ip = ips,
		.n_ip = 1};
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
	BIO *cert, *key;
	struct err e = {0};

	if (pki_make_ca(&spec, &n->ca, &e) != 0 ||
		pki_issue_server(&n->ca, &spec, &n->server, &e) != 0) {
		(void)fprintf(stderr, "%s\n", e.text);
		abort();
	}
	cert = BIO_new_mem_buf(n->server.cert_pem.data, (int)n->server.cert_pem.len);
	key = BIO_new_mem_buf(n->server.key_pem.data, (int)n->server.key_pem.len);
	{
		X509 *x = PEM_read_bio_X509(cert, NULL, NULL, NULL);
		EVP_PKEY *k = PEM_read_bio_PrivateKey(key, NULL, NULL, NULL);
		int ok =
			SSL_CTX_use_certificate(ctx, x) == 1 && SSL_CTX_use_PrivateKey(ctx, k) == 1;

		assert(ok);
		(void)ok;
		X509_free(x);
		EVP_PKEY_free(k);
	}
	BIO_free(cert);
	BIO_free(key);
	return ctx;
}

static void listen_any(struct fake_node *n)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof at;

	n->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (n->listener < 0 || bind(n->listener, (struct sockaddr *)&at, sizeof at) != 0 ||
		listen(n->listener, 64) != 0 ||
		getsockname(n->listener, (struct sockaddr *)&at, &len) != 0) {
		perror("listen");
		abort();
	}
	(void)snprintf(n->url, sizeof n->url, "https://127.0.0.1:%u", ntohs(at.sin_port));
}

struct fake_node *fake_node_new(void)
{
	struct fake_node *n = x_calloc(1, sizeof *n);

	(void)signal(SIGPIPE, SIG_IGN); /* OpenSSL writes to peers that went. */
	n->ctx = make_ctx(n);
	identity_init(&n->identity);
	random_fill(&random_system, n->cluster_id, ID_BYTES);
	random_fill(&random_system, n->lineage, ID_BYTES);
	if (key_generate(KEY_ECDSA_P256, 0, &n->restore_key, NULL) != 0) {
		abort();
	}
	(void)pthread_mutex_init(&n->lock, NULL);
	listen_any(n);
	if (pthread_create(&n->acceptor, NULL, accept_thread, n) != 0) {
		abort();
	}
	return n;
}

void fake_node_free(struct fake_node *n)
{
	(void)pthread_mutex_lock(&n->lock);
	n->stop = true;
	(void)shutdown(n->listener, SHUT_RDWR);
	for (size_t i = 0; i < n->n_conns; i++) {
		if (n->conn_fds[i] >= 0) {
			(void)shutdown(n->conn_fds[i], SHUT_RDWR);
		}
	}
	(void)pthread_mutex_unlock(&n->lock);
	(void)pthread_join(n->acceptor, NULL);
	for (size_t i = 0; i < n->n_conns; i++) {
		(void)pthread_join(n->conns[i], NULL);
	}
	(void)close(n->listener);
	for (size_t i = 0; i < n->n_log; i++) {
		free(n->log[i]);
	}
	store_release(&n->store);
	identity_release(&n->identity);
	key_free(n->restore_key);
	pki_identity_release(&n->ca);
	pki_identity_release(&n->server);
	SSL_CTX_free(n->ctx);
	free(n);
}

const char *fake_node_url(const struct fake_node *n)
{
	return n->url;
}

struct bytes fake_node_ca(const struct fake_node *n)
{
	return buf_bytes(&n->ca.cert_pem);
}

void fake_node_fault(struct fake_node *n, enum fake_fault fault, const char *match, unsigned skip,
	unsigned times, int status)
{
	(void)pthread_mutex_lock(&n->lock);
	n->fault = fault;
	(void)snprintf(n->match, sizeof n->match, "%s", match);
	n->skip = skip;
	n->times = times;
	n->struck = 0;
	n->status = status;
	(void)pthread_mutex_unlock(&n->lock);
}

void fake_node_claims_gone(struct fake_node *n)
{
	(void)pthread_mutex_lock(&n->lock);
	n->claims_gone = true;
	(void)pthread_mutex_unlock(&n->lock);
}

unsigned fake_node_claimed(struct fake_node *n)
{
	unsigned claimed;

	(void)pthread_mutex_lock(&n->lock);
	claimed = n->claimed;
	(void)pthread_mutex_unlock(&n->lock);
	return claimed;
}

unsigned fake_node_struck(struct fake_node *n)
{
	unsigned struck;

	(void)pthread_mutex_lock(&n->lock);
	struck = n->struck;
	(void)pthread_mutex_unlock(&n->lock);
	return struck;
}

unsigned fake_node_count(struct fake_node *n, const char *match)
{
	unsigned count = 0;

	(void)pthread_mutex_lock(&n->lock);
	for (size_t i = 0; i < n->n_log; i++) {
		count += strstr(n->log[i], match) != NULL;
	}
	(void)pthread_mutex_unlock(&n->lock);
	return count;
}

void fake_node_rollback(struct fake_node *n, uint64_t seq)
{
	(void)pthread_mutex_lock(&n->lock);
	store_rollback(n->store.vaults[0], seq);
	(void)pthread_mutex_unlock(&n->lock);
}

void fake_node_restore(struct fake_node *n, bool record, bool forged)
{
	struct restore_record r = {.raft_index = 42, .unix_ms = clock_wall_ms(&clock_system)};
	struct buf encoded = BUF_INIT;
	struct key *key = NULL;
	int rc = key_generate(KEY_ECDSA_P256, 0, &key, NULL);

	(void)pthread_mutex_lock(&n->lock);
	memcpy(r.cluster_id, n->cluster_id, ID_BYTES);
	memcpy(r.old_lineage, n->lineage, ID_BYTES);
	random_fill(&random_system, n->lineage, ID_BYTES);
	memcpy(r.new_lineage, n->lineage, ID_BYTES);
	if (record && n->n_records < FAKE_RECORDS_MAX) {
		rc = rc != 0 ? rc
			     : restore_record_sign(
				       &r, forged ? key : n->restore_key, &encoded, NULL);
		assert(rc == 0 && encoded.len == RESTORE_RECORD_BYTES);
		memcpy(n->records[n->n_records++], encoded.data, RESTORE_RECORD_BYTES);
	}
	n->token = 0;
	(void)pthread_mutex_unlock(&n->lock);
	key_free(key);
	buf_release(&encoded);
}

void fake_node_drop_staged(struct fake_node *n)
{
	(void)pthread_mutex_lock(&n->lock);
	while (n->store.n_staged > 0) {
		buf_release(&n->store.staged[--n->store.n_staged].bytes);
	}
	(void)pthread_mutex_unlock(&n->lock);
}

void fake_node_drop_sessions(struct fake_node *n)
{
	(void)pthread_mutex_lock(&n->lock);
	n->token++;
	(void)pthread_mutex_unlock(&n->lock);
}

unsigned fake_node_heads_sent(struct fake_node *n, uint64_t seq)
{
	unsigned count = 0;

	(void)pthread_mutex_lock(&n->lock);
	for (size_t i = 0; i < n->store.n_sent; i++) {
		count += n->store.sent[i].seq == seq;
	}
	(void)pthread_mutex_unlock(&n->lock);
	return count;
}

uint64_t fake_node_head_seq(struct fake_node *n)
{
	uint64_t seq;

	(void)pthread_mutex_lock(&n->lock);
	seq = n->store.n_vaults == 0 ? 0 : n->store.vaults[0]->n_heads;
	(void)pthread_mutex_unlock(&n->lock);
	return seq;
}

void fake_node_race(struct fake_node *n, void (*before_commit)(void *arg), void *arg)
{
	(void)pthread_mutex_lock(&n->lock);
	n->before_commit = before_commit;
	n->before_arg = arg;
	(void)pthread_mutex_unlock(&n->lock);
}
