#include "raft/file_message.h"
#include "raft/snapshot_record.h"

/* A manifest, a message of the file stream, a snapshot's record: what is accepted must come out the
 * same when it is written again. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_manifest(struct bytes bytes)
{
	_cleanup_(buf_release) struct buf again = BUF_INIT;
	struct manifest manifest;

	if (manifest_decode(bytes, &manifest, NULL) != 0) {
		return;
	}
	if (manifest_encode(&manifest, &again) != 0 || !bytes_equal(buf_bytes(&again), bytes)) {
		__builtin_trap();
	}
	manifest_release(&manifest);
}

static void fuzz_file_message(struct bytes bytes)
{
	_cleanup_(buf_release) struct buf again = BUF_INIT;
	struct file_request request;
	struct bytes data;
	uint8_t id[MANIFEST_ID_BYTES];

	if (file_request_decode(bytes, &request) == 0) {
		file_request_encode(&request, &again);
	} else if (file_chunk_decode(bytes, &request, &data) == 0) {
		file_chunk_encode(&request, &again);
		buf_append_bytes(&again, data);
	} else if (file_gone_decode(bytes, id) == 0) {
		file_gone_encode(id, &again);
	} else {
		return;
	}
	if (!bytes_equal(buf_bytes(&again), bytes)) {
		__builtin_trap();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct driver_snapshot snapshot;
	struct bytes bytes = bytes_of(data, size);

	fuzz_manifest(bytes);
	fuzz_file_message(bytes);
	if (snapshot_record_decode(bytes, &snapshot, NULL) == 0 && snapshot.index == 0) {
		__builtin_trap();
	}
	return 0;
}
