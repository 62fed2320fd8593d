/* Every bound of the product, with its name: what a peer, a client or a disk may ask of us. */
#ifndef KLUIS_BASE_LIMITS_H
#define KLUIS_BASE_LIMITS_H

/* Cluster. */
enum {
	SITES_MAX = 16,
	VOTERS_MIN = 3,
	VOTERS_MAX = SITES_MAX,
	SERVER_WEIGHT_MAX = 1000,
	SERVER_WEIGHT_DEFAULT = 100,
	MEMBER_GONE_MS = 30000,	  /* A voter silent for so long is replaced. */
	MEMBER_STEADY_MS = 3000,  /* A member heard for so long without a break may vote. */
	LEADER_STEADY_MS = 30000, /* ... or lead, when its weight says so. */
	ELECTION_TIMEOUT_MS = 1000,
	HEARTBEAT_MS = 150,
	NODE_NAME_BYTES_MAX = 63,
	MEMBER_ADDRESS_BYTES_MAX = 255,
};

/* Log, links, proposals. */
enum {
	ENTRY_BYTES_MAX = 1 << 20, /* One raft entry's data. */
	ENTRIES_PER_MESSAGE_MAX = 1024,
	MESSAGE_BYTES_MAX = 4 << 20,	   /* One AppendEntries on a link. */
	PROPOSALS_BYTES_MAX = 4 << 20,	   /* In flight at the leader. */
	PROPOSALS_GATHER_BYTES = 32 << 10, /* With fewer a next entry waits for the last one, */
	PROPOSALS_GATHER_MS = 2,	   /* ... so long behind it at most. */
	PROPOSALS_MAX = 4096,
	PROPOSALS_PER_ENTRY_MAX = 4096,
	PROPOSALS_WAITING_BYTES_MAX = 32 << 20, /* Of one node's clients. */
	/* What waits would take longer than this at the rate that things move: no more are taken.
	 */
	PROPOSALS_WAITING_MS_MAX = 2000,
	PROPOSALS_WAITED_MS_MIN = 250, /* ... and the oldest has waited for so long. */
	PROPOSALS_RATE_MS = 2000,      /* Over which, and more, the rate is taken. */
	/* Of one other node, waiting at the leader: more than it sends without an answer. */
	FORWARDED_BYTES_MAX = 6 << 20,
	PROPOSE_OWN_MS = 10000,	    /* A command of the node itself. */
	READ_BATCHES_MAX = 4,	    /* Read-index rounds of one node under way. */
	LOG_FLUSH_BYTES = 64 << 20, /* Applied since the last flush: the log may be cut. */
	LOG_FLUSH_ENTRIES = 8192,
	LOG_MARK_IDLE_MS = 1000, /* Without a write: it is marked that all before was synced. */
	LOG_TRAILING_BYTES =
		64 << 20, /* Kept behind a snapshot, for peers that are a bit behind. */
	LOG_TRAILING_ENTRIES = 1 << 16,
	HASH_REPORT_IDLE_MS = 2000,
	HASH_ASK_MS = 5000,	       /* One in quarantine asks to be judged. */
	REBUILD_DOUBT_MS = 20000,      /* Started in quarantine: is perhaps judged better soon. */
	REBUILD_WAIT_MS = 60000,       /* From one rebuild to the next, doubled each time ... */
	REBUILD_WAIT_MS_MAX = 3600000, /* ... up to this; after as long all is forgotten. */
	HAND_OVER_MS = 3000,	       /* A leader that should not lead tries again. */
	TIME_JUMP_MIN_MS = 2000,       /* Cluster time behind the wall clocks by more: it jumps. */
	TIME_JUMP_INTERVAL_MS = 10000,
	DISK_CHECK_MS = 1000,
	DISK_FLOOR_PERCENT = 10,
	DISK_RESERVE_BYTES = 64 << 20,
	DISK_LOW_FLUSH_MS = 10000,	      /* While it is low. */
	DELETION_PAGE_BYTES_MAX = 544 * 1024, /* With tombstones, while the disk is low. */
	CHECKPOINT_IDLE_MS = 60000, /* Unasked for so long, a checkpoint for others goes. */
	CATCH_UP_CHUNKS_MAX = 6,    /* Asked for and not yet there. */
	CATCH_UP_STALL_MS = 5000,
	CATCH_UP_KEPT_MS = 10000, /* What was fetched, once the log is followed without it. */
	SEGMENT_BYTES = 16 << 20,
	LOG_CACHE_BYTES_MAX = 32 << 20,
	LINK_MESSAGE_BYTES_MAX = MESSAGE_BYTES_MAX + 64 * 1024,
	LINK_QUEUE_BYTES_MAX = 16 << 20, /* Unsent per stream of a link. */
	LINK_FILE_CHUNK_BYTES = 256 * 1024,
	SNAPSHOT_TRAILING_ENTRIES = 1024,
	SNAPSHOT_PINNED_ENTRIES_MAX = 1 << 18, /* Kept for a peer that fetches a snapshot. */
	SNAPSHOT_PIN_SILENT_MS = 30000,	       /* ... unless it is silent for so long. */
	SNAPSHOT_RESEND_MS = 5000,
	MANIFEST_BYTES_MAX = 1 << 20,
	INFLIGHT_ENTRIES_MAX = 256,    /* Sent to a peer and not yet answered. */
	UNSTORED_BYTES_MAX = 32 << 20, /* Taken from a leader and not yet on our disk. */
	APPLY_ENTRIES_MAX = 256,       /* Given to the state machine and not yet applied. */
	APPLY_BYTES_MAX = 8 << 20,
	ROW_CACHE_SLOTS = 1 << 12, /* Rows that the apply thread read last. */
	ROW_CACHE_VALUE_BYTES_MAX = 512,
	APPLY_LAG_ENTRIES_MAX = 4096, /* Committed and not yet applied: no more proposals. */
	LOG_READ_ENTRIES_MAX = 256,
	LOG_READ_BYTES_MAX = 4 << 20,
	LOG_SNAPSHOT_BYTES_MAX = 64 * 1024, /* The record of a snapshot beside the log. */
	PEER_HELD_BYTES_MAX = 8 << 20,	    /* Messages that wait for a log read. */
	PEER_HELD_MAX = 1024,
	PROPOSALS_PER_MESSAGE_MAX = 1024,
	READS_WAITING_MAX = 16384,
	READ_ROUND_RESEND_MS = 100,
	READ_INDEX_MS = 3000,	      /* A forwarded read-index that got no answer. */
	CHANGE_LAG_ENTRIES_MAX = 256, /* Behind by more: not caught up. */
};

#define DISK_FLOOR_BYTES (2ULL << 30)

/* Streams (crypto/tls_stream). */
enum {
	TLS_STREAM_HIGH_BYTES = 256 * 1024,  /* Unsent bytes above which it is not writable. */
	TLS_STREAM_LOW_BYTES = 64 * 1024,    /* drain_cb comes at or below this. */
	TLS_STREAM_TURN_BYTES = 1024 * 1024, /* Written in one loop turn; others wait, too. */
	TLS_STREAM_READ_BYTES = 64 * 1024,   /* One read of the socket. */
	TLS_STREAM_RECORD_BYTES = 16 * 1024, /* Plaintext of a full TLS record (RFC 8446, 5.1). */
	TLS_STREAM_LINGER_MS = 3000,	     /* A graceful close waits this long for the peer. */
	TLS_STREAM_LINGER_BYTES_MAX = 16 << 20, /* And drops this much. */
	TLS_STREAM_CLOSE_MS = 30000,		/* And this long until the last byte has left. */
	TLS_CHUNK_BYTES = 64 * 1024,		/* One allocation of unsent bytes. */
	TLS_CHUNKS_KEPT = 8,			/* Of a thread, free. */
	TLS_WRITE_CHUNKS_MAX = 16,		/* In one write. */
	TLS_STREAM_ADDRESS_MAX = 64,
};

/* Links between nodes. */
enum {
	LINK_FRAME_PAYLOAD_BYTES_MAX = 64 * 1024, /* Streams take turns at this grain. */
	LINK_FRAME_PIECES_MAX = 64,
	LINK_MESSAGES_MAX = 4096, /* Unsent per stream. */
	LINK_RELAY_MESSAGE_BYTES_MAX = 20 * 1024,
	LINK_RELAY_QUEUE_BYTES_MAX = 1 << 20, /* Unsent to one peer. */
	LINK_FILE_MESSAGE_BYTES_MAX = LINK_FILE_CHUNK_BYTES + 64 * 1024,
	LINK_FILE_WINDOW_BYTES = 2 << 20,   /* File bytes sent ahead of the receiver's disk. */
	LINK_FILE_CREDIT_BYTES = 64 * 1024, /* Credit is told from this much on. */
	LINK_UNSENT_BYTES_MAX = 64 * 1024,  /* Taken from the queues ahead of the kernel. */
	LINK_KERNEL_BYTES_MAX = 128 * 1024, /* Unsent there: a heartbeat waits behind it. */
	LINK_HANDSHAKE_MS = 5000,	    /* Dial to ack, accept to hello. */
	LINK_HANDSHAKES_MAX = 64,	    /* Accepted, not yet known who. */
	LINK_SWEEP_MS = 50,
	LINK_PING_MS = 500,
	LINK_DEAD_MS = 3000, /* Nothing heard for this long. */
	LINK_BACKOFF_MIN_MS = 50,
	LINK_BACKOFF_MAX_MS = 1000,
	LINK_CLOSE_MS = 2000, /* For what was queued last to leave. */
	LINK_LOG_MS = 30000,  /* The same trouble is logged again after this. */
};

/* Vaults (API section 1). */
enum {
	PAGE_PLAINTEXT_BYTES_MAX = 1 << 18,
	PAGE_BYTES_MAX = PAGE_PLAINTEXT_BYTES_MAX + 144,
	COMMIT_INLINE_BYTES_MAX = 768 * 1024,
	COMMIT_ENTRIES_MAX = 1024,
	REQUEST_BODY_BYTES_MAX = 1 << 20,
	PAGES_GET_MAX = 64,
	PAGE_VERSIONS_MAX = 10,
	VAULT_PAGES_MAX = 1 << 24, /* Page numbers of one vault: 4 TiB of chunks. */
	VAULT_EPOCHS_MAX = 256,	   /* Keys of one vault; nobody skips as many at once. */
	/* Users and groups of one vault or group: a removal gives each that remains a key, in one
	   command. */
	OBJECT_MEMBERS_MAX = 1024,
	CONVERSATION_MEMBERS_MAX = 200,
	VAULT_GROUPS_MAX = 64,
	GROUP_VAULTS_MAX = 255, /* A group's removal gives each of them a new key, too. */
	USER_GROUPS_MAX = 256,	/* That one user has accepted. */
	LIST_LIMIT_DEFAULT = 100,
	LIST_LIMIT_MAX = 500,
};
#define STAGED_KEPT_MS (24ULL * 3600 * 1000)
#define STAGED_USER_BYTES_MAX \
	(4ULL << 30) /* Of one user, staged and not committed, in all vaults. */
#define AUDIT_KEPT_MS	      (400ULL * 24 * 3600 * 1000)
#define AUDIT_ROWS_MAX	      (1ULL << 20) /* The oldest go first, however young. */
#define ACCESS_KEPT_MS	      (400ULL * 24 * 3600 * 1000)
#define DAY_MS		      (24ULL * 3600 * 1000)
#define AUDIT_DAY_USER_ROWS   2000 /* Of what users do; 400 days leave room for operators. */
#define ACCESS_ROWS_MAX	      (1ULL << 14) /* Of one person: the oldest go first. */
#define ACCESS_DAY_ROWS	      2048	   /* Of one person: it takes eight days to push one out. */
#define ACCESS_DAY_ROWS_OFTEN 1792	   /* ... of logins, unlocking and the like. */
#define VERSIONS_KEPT_MS      (30ULL * 24 * 3600 * 1000)
#define IDEMPOTENCY_KEPT_MS   (24ULL * 3600 * 1000)

/* State machine (docs/format-commands.md section 4). */
enum {
	EXPIRE_INTERVAL_MS = 250,   /* Between two that do something: purges are rate-limited. */
	HASH_REPORT_ENTRIES = 1000, /* A report is due at each multiple of it. */
	SESSIONS_PER_USER_MAX = 256,
	SESSIONS_WAITING_MAX = 16,	  /* Of a user, one level, with or without a device. */
	SESSION_WAIT_MS = 10 * 60 * 1000, /* For the second factor. */
	SNAPSHOT_EARLY_MS = 60 * 1000,	  /* A cycle may be claimed so long before its time. */
	SNAPSHOTS_KEPT = 256,		  /* Records; older ones that are not pinned go. */
	SNAPSHOTS_PINNED_MAX = 64,	  /* Of these: cycles need room, too. */
	SNAPSHOT_CYCLES_KEPT = 84,	  /* Increments that receivers keep. */
	SNAPSHOT_HELD_MS =
		48 * 3600 * 1000, /* A claim can be renewed for so long: a taker may hang. */
	HASH_REPORTS_KEPT = 16,	  /* Indexes whose reports are remembered. */
	STATE_ROOTS_KEPT = 4,	  /* Snapshots whose state roots are. */
	FSM_PAST_ENTRIES = 8192,  /* Whose state hash is known, for reports of the past. */
};
/* Year 9999: nothing that is added to a time can overflow. */
#define CLUSTER_TIME_MAX_MS 253402300799999ULL
#define PURGE_HOLD_JUMP_MS  (10ULL * 60 * 1000)	  /* A jump ahead by more than this ... */
#define PURGE_HOLD_MS	    (24ULL * 3600 * 1000) /* ... holds the purge of versions so long. */

/* HTTP. */
enum {
	HTTP_CONNECTIONS_MAX = 16384,
	HTTP_CONNECTIONS_SURPLUS = 64, /* Accepted beyond it, to see who they are. */
	HTTP_CONNECTIONS_PER_ADDRESS_MAX = 1024,
	HTTP_ACCEPTS_PER_SECOND = 500, /* Of one address: each costs a handshake. */
	HTTP_ACCEPTS_BURST = 2000,
	HTTP_REQUESTS_PER_ADDRESS_MAX = 1024, /* Without an answer that is out. */
	HTTP_STREAMS_MAX = 128,
	HTTP_HEADER_BYTES_MAX = 16 * 1024,
	HTTP_HEADERS_MAX = 64,
	HTTP_TARGET_BYTES_MAX = 4096,
	HTTP_HANDSHAKE_MS = 10000,
	HTTP_WARM_MS = 1000,		/* So long behind a request TLS buffers are kept, ... */
	HTTP_WARM_CONNECTIONS = 1024,	/* ... as long as there are no more connections. */
	HTTP_FIELDS_USUAL_BYTES = 2048, /* Names and values of most requests. */
	HTTP_HEADER_MS = 10000,
	HTTP_IDLE_MS = 60000,
	HTTP_BODY_STALL_MS = 30000,
	HTTP_BODY_BYTES_PER_SECOND_MIN = 16 * 1024, /* Of a request's and of an answer's. */
	HTTP_BODIES_BYTES_MAX = 256 << 20,	    /* Request bodies in memory, all connections. */
	HTTP_BODIES_PER_ADDRESS_BYTES_MAX = 64 << 20,
	HTTP_ANSWERS_BYTES_MAX = 256 << 20, /* Made and not yet sent: beyond it no new requests. */
	HTTP_CONNECTION_HELD_BYTES_MAX = 8 << 20, /* Being worked on; beyond it no new window. */
	HTTP_STREAM_WINDOW_BYTES = 256 * 1024,
	HTTP_CONNECTION_WINDOW_BYTES = 1 << 20,
	HTTP_RESETS_BURST = 100, /* Streams of a connection that end before their answer has. */
	HTTP_RESETS_PER_SECOND = 33,
	HTTP_LISTENERS_MAX = 8,
	HTTP_ACCEPT_RETRY_MS = 100,
	JSON_DEPTH_MAX = 16,
};

/* The API behind it. */
enum {
	API_CALLS_MAX = 4096,	   /* Requests being worked on. */
	API_PARAM_BYTES_MAX = 128, /* One segment of a path, decoded. */
	API_CURSOR_KEY_BYTES_MAX = 80,
	API_WAIT_MS_DEFAULT = 1000, /* Session consistency. */
	API_WAIT_MS_MAX = 30000,
	API_READ_MS = 3000,    /* A linearizable read's quorum round. */
	API_PROPOSE_MS = 8000, /* A write's commit: longer than an election. */
	API_STALE_MS_DEFAULT = 10000,
	API_STALE_MS_MIN = 1000,
	API_STALE_MS_MAX = 600000,
	API_CHALLENGES_PER_USER_MAX = 8, /* Of second factors: one user's go before others'. */
	API_CHALLENGE_MS = 120000,
	/* In one answer; about. As base64 within the 4 MiB of JSON that a client takes. */
	API_STATEMENTS_BYTES_MAX = 2 << 20,
	API_HANDSHAKES_MAX = 10000, /* Password logins half way; recoveries; ... */
	API_HANDSHAKES_PER_ADDRESS_MAX = 1024,
	API_HANDSHAKE_MS = 60000, /* The slowest client's key derivation takes 13 s. */
	RECOVERY_DELAY_S_MAX = 14 * 86400,
	API_RATE_KEYS_MAX = 4096,
	API_LOGIN_PER_SECOND = 50, /* One address; bursts of four times that. */
	API_REQUESTS_PER_SECOND = 20000,
	API_SESSION_CACHE_MAX = 256,
	KEY_CACHE_SLOTS = 1024,
	API_SNAPSHOT_CLAIM_MS = 3600 * 1000,
	KEYRING_BYTES_MAX = 256 * 1024,
	CHAT_MESSAGE_BYTES_MAX = 64 * 1024 + 228, /* Around the largest plaintext. */
	INBOX_DOCUMENT_BYTES_MAX = 512 * 1024,
	SHARE_PACKETS_MAX = 2048, /* KeyPackets with one change of members ... */
	PACKET_SCAN_MAX = 4096,	  /* ... and looked at for one answer. */
};
#define API_SESSION_MS (24ULL * 3600 * 1000)

/* Events. */
enum {
	EVENT_TOPICS_MAX = 8192,      /* Objects that one subscriber is told of. */
	EVENT_ROWS_MAX = 1 << 16,     /* Looked at for what was missed: beyond it, all was. */
	EVENT_QUEUE_MAX = 256,	      /* Not yet taken by a subscriber: beyond it, resync. */
	EVENT_RING = 1 << 14,	      /* The newest of the node. */
	EVENT_FEED_MAX = 1 << 14,     /* Applied and not yet told. */
	EVENT_SUBSCRIBERS_MAX = 8192, /* Of a node, ... */
	EVENT_POLLS_MAX = 2048,	      /* ... of them requests that wait. */
	EVENT_USER_MAX = 64,	      /* Of one user. */
	EVENT_LINKS_MAX = 1 << 20,    /* Of all subscribers to what they are told of. */
	EVENT_SIGNALS_MAX = 32,	      /* Not yet taken by a subscriber: the oldest goes. */
	EVENT_RELAYED_MAX = 256,      /* Come and not yet told: the newest is dropped. */
	CALL_SIGNAL_BYTES_MAX = 16 * 1024,
	CALL_SIGNALS_PER_SECOND = 20, /* Of one user, and ... */
	CALL_SIGNALS_BURST = 100,
	EVENT_LOOKS_MAX = 8, /* Readings of the store for them at once. */
	EVENT_WAIT_MS_MAX = 55000,
	EVENT_TICKETS_USER_MAX = 16,
	EVENT_TICKET_MS = 30000,
	EVENT_SWEEP_MS = 1000,
	TURN_TTL_S_MIN = 60, /* Of credentials for TURN servers. */
	TURN_TTL_S_DEFAULT = 3600,
	TURN_TTL_S_MAX = 86400,
	TURN_SECRET_BYTES_MIN = 16,
	TURN_SECRET_BYTES_MAX = 256,
	WEBSOCKET_PING_MS = 25000,	 /* Nothing heard for so long: is somebody there? */
	WEBSOCKET_IDLE_MS = 60000,	 /* Nobody is. */
	WEBSOCKET_TEXT_BYTES_MAX = 1024, /* Of a client's. */
	WEBSOCKET_FRAMES_BURST = 64,	 /* Of a client, and ... */
	WEBSOCKET_FRAMES_PER_SECOND = 4,
	WEBSOCKET_UNSENT_BYTES_MAX = 32 * 1024, /* Beyond it nothing more is given to it. */
};

/* The agent of `kluis` (docs/format-agent.md). */
enum {
	AGENT_FRAME_BYTES_MAX = 512 * 1024,
	AGENT_ITEMS_MAX = 16,	 /* Keys and secrets of its own. */
	AGENT_PLACES_MAX = 4096, /* Entries of a keyring: more than fit one. */
	AGENT_VALUE_BYTES_MAX = 4096,
	AGENT_CONNECTIONS_MAX = 8, /* Each of them holds at most a frame of locked memory. */
	AGENT_REQUEST_MS = 5000,   /* From the connection to the whole request. */
	AGENT_ANSWER_MS = 10000,   /* What a client waits for one. */
	AGENT_START_MS = 10000,
	AGENT_IDLE_MS_DEFAULT = 15 * 60 * 1000,
	AGENT_IDLE_MS_MAX = 24 * 3600 * 1000,
};

/* Of a kind, that one restore repeats: what the count in its list can say. */
#define BACKUP_DELETIONS_MAX UINT32_MAX

/* Backup (docs/format-backup.md). */
enum {
	RESTORE_RECORDS_MAX = 64, /* Newest restores that a cluster can prove. */
	BACKUP_FORMER_MAX = 32,	  /* Keys that nodes signed with before. */
	BACKUP_SLICES = 42,	  /* Cycles until every row was written again: seven days. */
	BACKUP_CYCLES_KEPT = 83,  /* The oldest of 42 points needs the 42 that end there. */
	BACKUP_KEY_BYTES_MAX = 1024,
	BACKUP_VALUE_BYTES_MAX = 4 << 20,
	BACKUP_SEGMENT_BYTES = 1 << 20,
	BACKUP_PLAINTEXT_BYTES_MAX = 63 << 20, /* Of one object. */
	BACKUP_OBJECT_BYTES_MAX = 64 << 20,
	BACKUP_MANIFEST_BYTES_MAX = 4 << 20,
	BACKUP_OBJECTS_MAX = 100000,	/* In one snapshot. */
	BACKUP_SNAPSHOTS_MAX = 16384,	/* In one repository. */
	BACKUP_DROP_FILES_MAX = 200000, /* Looked at in one scan of a drop. */
	BACKUP_DROP_FILES_DEFAULT = 20000,
	BACKUP_REHASH_S_DEFAULT = 7 * 24 * 3600, /* All copies are read again. */
	BACKUP_SORT_BYTES = 32 << 20, /* Of records sorted in memory before they go to disk. */
	BACKUP_DELETIONS_STEP = 512,  /* Of each kind, journalled in one step. */
	JOURNAL_CHAIN_MAX = 64,	      /* Journal increments, from the newest to its cycle. */
	JOURNAL_S = 60,
	JOURNAL_S_MAX = 3600,
	JOURNAL_HELD_MS = 120 * 1000,	/* One that too few sites confirm is overtaken after. */
	JOURNAL_TURN_MS = 30 * 1000,	/* At most: from one node's turn to take one to the next. */
	JOURNAL_LOOK_ROWS = 4096,	/* That are no change by themselves. */
	JOURNAL_SEEN = 64,		/* Recorded lately: what a slow site still may take in. */
	JOURNAL_SPARE_MS = 3600 * 1000, /* What no newest one is built on is kept so long. */
	JOURNAL_LATE_MS = 10 * 60 * 1000, /* An alarm when the recovery point is so old. */
	PROOF_WEEK_MS = 7 * 24 * 3600 * 1000,
	PROOF_TURN_MS = 24 * 3600 * 1000,  /* From one site's turn to drill to the next one's. */
	PROOF_AGAIN_MS = 24 * 3600 * 1000, /* After a drill that failed. */
	PROOF_RETRY_MS = 3600 * 1000,	   /* After one that said nothing. */
	ALARM_PAUSE_S = 10,		   /* Between two runs of an operator's program. */
	ALARM_REPEAT_S = 4 * 3600,	   /* An alarm that lasts is told again. */
	SFTP_WINDOW_BYTES = 2 << 20,	   /* In flight to one site. */
	SFTP_TIMEOUT_MS = 15000, /* One call of libssh2 that moves nothing: a stop waits for it. */
	SFTP_CONNECT_MS = 10000,
	SHIP_ATTEMPTS_MAX = 10, /* Connections to one site for one snapshot. */
	SHIP_NAMES_MAX = 100,	/* For one object: more than fail within BACKUP_CUT_MS. */
	SHIP_BACKOFF_MS = 250,	/* Before the second; doubled each time. */
	SHIP_BACKOFF_MS_MAX = 60000,
	SCHEDULE_TURN_MS = 5000,      /* From one node's turn to claim a cycle to the next one's. */
	SCHEDULE_CLAIM_MS_MIN = 5000, /* A claim lasts so long, unless its taker renews it. */
	SCHEDULE_CLAIM_MS_MAX = 10 * 60 * 1000,
	SCHEDULE_STALL_MS_MIN = 60 * 1000, /* A taker that moves nothing for so long gives up. */
	SCHEDULE_INTERVAL_S = 4 * 3600,
	SCHEDULE_INTERVAL_S_MAX = 7 * 86400,
	BACKUP_KEEP_S_MIN = 60,
	BACKUP_KEEP_S_MAX = 3660 * 86400,
};
#define BACKUP_KEPT_MS	   (14ULL * 24 * 3600 * 1000) /* Receiver's clock. */
#define BACKUP_FRESH_MS	   (8ULL * 3600 * 1000)	 /* Older newest snapshot: nothing is pruned. */
#define BACKUP_LEFTOVER_MS (24ULL * 3600 * 1000) /* Incomplete uploads are removed after. */
#define BACKUP_CUT_MS	   (10ULL * 60 * 1000)	 /* ... and that another one followed. */
/* 2020-09-13: the cluster's time begins at 0 and is set once a majority of the nodes' clocks agree.
 */
#define CLUSTER_TIME_MS_MIN   1600000000000ULL
#define PROOF_LATE_MS	      (14ULL * 24 * 3600 * 1000) /* Without a drill: where sites can. */
#define PROOF_LATE_BY_HAND_MS (30ULL * 24 * 3600 * 1000) /* ... where an operator has to. */

#endif
