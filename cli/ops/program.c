/* The table of commands: help, completion and docs/cli-kluisctl.md are made from it. */
#include "cli/ops/ops.h"

static const struct command_option member_add_options[] = {
	{"site", 0, "NAME", "Its site, of a-z, 0-9 and '-'"},
	{"link", 0, "HOST:PORT", "Where its links listen"},
	{"incarnation", 0, "HEX", "The id of its log, as kluisd init --join printed it"},
	{"weight", 0, "N", "To lead, 0 to 1000 (100)"},
	{"no-wait", 0, NULL, "Only write it down; the leader brings it about"},
	{NULL, 0, NULL, NULL},
};

static const struct command_option member_options[] = {
	{"no-wait", 0, NULL, "Only write it down; the leader brings it about"},
	{NULL, 0, NULL, NULL},
};

static const struct command_option service_create_options[] = {
	{"token-file", 0, "FILE",
		"Write the enrolment token there (new, mode 0600), not to stdout"},
	{NULL, 0, NULL, NULL},
};

static const struct command_option service_disable_options[] = {
	{"dry-run", 'n', NULL, "Show the account, and do nothing"},
	{NULL, 0, NULL, NULL},
};

static const struct command_option user_dry_options[] = {
	{"dry-run", 'n', NULL, "Show the account, and do nothing"},
	{NULL, 0, NULL, NULL},
};

static const struct command_option user_sessions_options[] = {
	{"end", 0, NULL, "End them all, on all sites"},
	{NULL, 0, NULL, NULL},
};

static const struct command_option user_quota_options[] = {
	{"vaults", 0, "N", "How many vaults (default 0: no quota)"},
	{"pages", 0, "N", "How many pages in each (default 0: no quota)"},
	{"bytes", 0, "N",
		"How many bytes in all of them (default 0: what the nodes' settings say)"},
	{"all-pages", 0, "N", "How many pages in all of them (default 0: likewise)"},
	{NULL, 0, NULL, NULL},
};

static const struct command_option invite_create_options[] = {
	{"uses", 0, "N", "So many may register with it (default 1)"},
	{"hours", 0, "N", "It is good for so long, at most 576 (default 72)"},
	{"note", 0, "TEXT", "What the list shows beside it"},
	{"token-file", 0, "FILE", "Write the token there (new, mode 0600), not to stdout"},
	{NULL, 0, NULL, NULL},
};

static const struct command_option save_options[] = {
	{"wait", 'w', NULL, "Until enough sites have confirmed it"},
	{NULL, 0, NULL, NULL},
};

static const struct command_option list_options[] = {
	{"repository", 'R', "DIR", "Of this directory, without a running node"},
	{"config", 'c', "FILE", "A node's settings: whose signatures count"},
	{NULL, 0, NULL, NULL},
};

static const struct command_option verify_options[] = {
	{"level", 'l', "N", "1 signature and sizes, 2 all ciphertext (default), 3 all rows"},
	{"repository", 'R', "DIR", "Of this directory, without a running node"},
	{"config", 'c', "FILE", "A node's settings: whose signatures count"},
	{"key-file", 'k', "FILE",
		"The private backup key, for level 3; several when the chain is sealed to several"},
	{NULL, 0, NULL, NULL},
};

#define TO_NEWEST_OPTION                                                                        \
	{                                                                                       \
		"to-newest", 0, NULL,                                                           \
			"The newest minute that the repository has whole: the newest snapshot " \
			"with its journal"                                                      \
	}
#define DELETIONS_OPTION                                                                         \
	{                                                                                        \
		"deletions", 0, "DIR",                                                           \
			"Another site's repository, or its 'deletions' alone: what it knows of " \
			"deletions; may be given several times"                                  \
	}

static const struct command_option plan_options[] = {
	{"config", 'c', "FILE", "Settings of the node to be restored"},
	{"snapshot", 's', "ID", "Which snapshot (default: the newest)"},
	TO_NEWEST_OPTION,
	{"repository", 'R', "DIR", "Where it is (default: the repository in the settings)"},
	{"key-file", 'k', "FILE",
		"A private backup key (several after a rotation): then vaults, persons and the "
		"bytes to write are counted"},
	DELETIONS_OPTION,
	{NULL, 0, NULL, NULL},
};

static const struct command_option restore_options[] = {
	{"config", 'c', "FILE", "Settings of the node to be restored"},
	{"snapshot", 's', "ID", "Which snapshot (default: the newest)"},
	TO_NEWEST_OPTION,
	{"repository", 'R', "DIR", "Where it is (default: the repository in the settings)"},
	{"key-file", 'k', "FILE",
		"The private backup key; several when the chain is sealed to several"},
	{"restore-key", 0, "FILE",
		"The operator restore key (private, PEM), which signs the record"},
	{"record", 0, "FILE",
		"The signed record of this restore, with what it deletes again: written at the "
		"first node, taken as it is at the others"},
	DELETIONS_OPTION,
	{"dry-run", 'n', NULL, "As 'restore plan': show what it would do, and do nothing"},
	{NULL, 0, NULL, NULL},
};

static const struct command_option restore_vault_options[] = {
	{"config", 'c', "FILE", "Settings of a node: whose signatures count"},
	{"snapshot", 's', "ID", "Which snapshot (default: the newest)"},
	TO_NEWEST_OPTION,
	{"repository", 'R', "DIR", "Where it is (default: the repository in the settings)"},
	{"key-file", 'k', "FILE",
		"A private backup key; may be given several times, after a rotation"},
	{"out", 'O', "DIR", "The copy: made, and must not be there"},
	DELETIONS_OPTION,
	{NULL, 0, NULL, NULL},
};

static const struct command_option pki_init_options[] = {
	{"dir", 'd', "DIR", "Where the CAs and keys go"},
	{"ec", 0, NULL, "A provider CA with an EC P-384 key instead of RSA-4096"},
	{NULL, 0, NULL, NULL},
};

static const struct command_option pki_issue_options[] = {
	{"dir", 'd', "DIR", "Where the CAs are"},
	{"node", 'n', "ID", "The node's number"},
	{"host", 'H', "NAME", "Name or address clients reach it by; may be given several times"},
	{"out", 'O', "DIR", "Where its certificates and keys go"},
	{"days", 0, "N", "Days until they expire (397)"},
	{NULL, 0, NULL, NULL},
};

static const struct command_option backup_status_options[] = {
	{"max-age", 0, "HOURS",
		"Of the newest confirmed snapshot (two intervals of the schedule, at least 8)"},
	{NULL, 0, NULL, NULL},
};

static const struct command_option backup_drill_options[] = {
	{"config", 'c', "FILE", "A node's settings: whose signatures count"},
	{"repository", 'R', "DIR",
		"Where the copies are (default: the repository in the settings)"},
	{"key-file", 'k', "FILE",
		"The private backup key; several when the chain is sealed to several"},
	{"scratch", 0, "DIR",
		"New, empty or with what a killed drill left; made for it and removed (default: "
		"'drill' in the data directory)"},
	{"kluisd", 0, "FILE", "The program that boots it (default: the one beside kluisctl)"},
	{"no-record", 0, NULL, "Do not tell the cluster, and ask no node"},
	{NULL, 0, NULL, NULL},
};

static const struct command_option backup_init_options[] = {
	{"dir", 'd', "DIR", "Where backup.key and backup.pub go"},
	{NULL, 0, NULL, NULL},
};

static const struct command_option backup_rotate_options[] = {
	{"dir", 'd', "DIR", "Where backup.key is"},
	{NULL, 0, NULL, NULL},
};

static const struct command_option backup_split_options[] = {
	{"key-file", 'k', "FILE", "The private backup key"},
	{"needed", 0, "K", "So many make the key again"},
	{"shares", 0, "N", "So many are made, at most 16"},
	{"out", 'O', "DIR", "Where they go, a file each (mode 0400)"},
	{"print", 0, NULL, "Instead: show them at the terminal, to be written down"},
	{NULL, 0, NULL, NULL},
};

static const struct command_option backup_combine_options[] = {
	{"out", 'O', "FILE", "Where the private key goes (new, mode 0400)"},
	{"public", 0, "FILE", "backup.pub: the key must be this one's"},
	{NULL, 0, NULL, NULL},
};

static const struct command_option backup_sign_options[] = {
	{"out", 'O', "PREFIX",
		"PREFIX.key (private) and PREFIX.pub (hex, for the settings) are made"},
	{NULL, 0, NULL, NULL},
};

static const struct command_option ssh_options[] = {
	{"config", 'c', "FILE", "A node's settings"},
	{NULL, 0, NULL, NULL},
};

static const struct command_option ssh_trust_options[] = {
	{"config", 'c', "FILE", "Settings that name all sites"},
	{"keys", 'k', "DIR", "Where NAME.host.pub and NAME.ship.pub of each site are"},
	{"out", 'O', "DIR", "Write what the settings and the receivers need there"},
	{NULL, 0, NULL, NULL},
};

static const struct command_option ssh_check_options[] = {
	{"config", 'c', "FILE", "This node's settings"},
	{"key", 'k', "FILE", "Sign in with this key (default: the one in the settings)"},
	{NULL, 0, NULL, NULL},
};

static const struct command_option ssh_rotate_options[] = {
	{"config", 'c', "FILE", "This node's settings"},
	{"finish", 0, NULL, "Every site has the new key: bring it into use"},
	{NULL, 0, NULL, NULL},
};

static const struct command_option diagnose_options[] = {
	{"out", 'O', "FILE", "Write the report there"},
	{NULL, 0, NULL, NULL},
};

static const struct command_option bench_options[] = {
	{"profile", 'p', "DIR", "An enrolled account's (KLUIS_PROFILE, or as 'kluis' has it)"},
	{"op", 0, "OP", "put (default), get, mixed or stage (uploads ahead of a commit alone)"},
	{"clients", 'C', "N",
		"Clients at a time, each with a connection and a vault of its own (16)"},
	{"bucket", 'b', "SIZE", "Size of the pages: 4k (default), 8k, ... 256k"},
	{"seconds", 's', "N", "Measure for so long (5), after a short warm-up"},
	{"requests", 'n', "N", "Or measure so many requests, without a warm-up"},
	{"endpoint", 'e', "URL",
		"Ask this site; may be given several times; 'leader' or 'followers' stand for "
		"theirs (default: all sites in turn)"},
	{"consistency", 0, "KIND", "Of gets: linearizable (default) or stale"},
	{"reads", 0, "PERCENT", "Share of gets in mixed (90)"},
	{"pages", 0, "N", "Pages that the gets read (1024)"},
	{"attempt-ms", 0, "N", "Send a request again when no answer came for so long (15000)"},
	{"keep", 0, NULL, "Do not remove vaults, neither now nor those of an earlier run"},
	{NULL, 0, NULL, NULL},
};

static const struct command_option help_options[] = {
	{"markdown", 0, NULL, "The reference page of all commands"},
	{NULL, 0, NULL, NULL},
};

static const struct command ops_commands[] = {
	{"status", NULL, "Show every node asked, dead ones too",
		"With several --socket each is asked and is a row; members that no socket was "
		"given for are rows as the\nothers see them. Exit 13 without a leader, 3 when a "
		"node is down.",
		NULL, 0, 0, ops_status},
	{"member list", NULL, "List the cluster's members", NULL, NULL, 0, 0, ops_member_list},
	{"member add", "ID", "Let a node in that kluisd init --join made",
		"ID is above every number that a member ever had. It is given all data, stands by, "
		"and votes when a voter is\nwanted. kluisd init --join prints the whole command.",
		member_add_options, 1, 1, ops_member_add},
	{"member replace", "NODE ID", "Let a node in, and remove another once it has all data",
		"For a site that was lost, or a machine that is to go. NODE is a number or a site; "
		"the new one may have its\nsite and address.",
		member_add_options, 2, 2, ops_member_replace},
	{"member remove", "NODE", "Remove a member for good",
		"Another one takes its vote where one can; its process ends. Its number is never "
		"given again.",
		member_options, 1, 1, ops_member_remove},
	{"member promote", "NODE", "Have a member vote",
		"When more than wanted do then, the one that weighs least and was not named stands "
		"by.",
		member_options, 1, 1, ops_member_promote},
	{"member demote", "NODE", "Have a member stand by, and never vote",
		"Another one takes its vote where one can. Never below three voters.",
		member_options, 1, 1, ops_member_demote},
	{"member drain", "NODE", "Prepare a member for being stopped",
		"It hands leadership and its vote to others and is not ready for clients; 'member "
		"auto' or 'member promote' ends\nthat.",
		member_options, 1, 1, ops_member_drain},
	{"member auto", "NODE", "Let the cluster decide again whether a member votes",
		"Ends what promote, demote or drain asked for.", member_options, 1, 1,
		ops_member_auto},
	{"member weight", "NODE N", "Say how much a member is to lead rather than others",
		"0 to 1000; 100 unless set. Leadership moves to the voter of most weight when it "
		"was in touch for 30 s.",
		NULL, 2, 2, ops_member_weight},
	{"member voters", "N", "Say how many members are to vote",
		"An odd number of 3 or more; as many as the cluster began with unless set.", NULL,
		1, 1, ops_member_voters},
	{"service create", "NAME", "Create a service account and its one-time enrolment token",
		"For an account that never enrolled: a new token. It is worth one enrolment and "
		"lives for an hour.",
		service_create_options, 1, 1, ops_service_create},
	{"service list", NULL, "List service accounts", NULL, NULL, 0, 0, ops_service_list},
	{"service disable", "NAME", "End an account's sessions and refuse new ones", NULL,
		service_disable_options, 1, 1, ops_service_disable},
	{"user list", NULL, "List the persons who have registered",
		"Deleted ones stay: their names are never given again.", NULL, 0, 0, ops_user_list},
	{"user show", "NAME", "Show a person's account", NULL, NULL, 1, 1, ops_user_show},
	{"user disable", "NAME", "End a person's sessions and refuse new ones", NULL,
		user_dry_options, 1, 1, ops_user_disable},
	{"user enable", "NAME", "Take 'user disable' back", NULL, NULL, 1, 1, ops_user_enable},
	{"user delete", "NAME", "Delete a person's account with all its data",
		"Her name is never given again, and no restore brings her back.", user_dry_options,
		1, 1, ops_user_delete},
	{"user sessions", "NAME", "List a person's sessions", NULL, user_sessions_options, 1, 1,
		ops_user_sessions},
	{"user mfa-reset", "NAME", "Remove all second factors of a person who lost hers",
		"Networks and places go as well, and all sessions end. Her access log says so, and "
		"by whom: make sure that it is her who asks.",
		user_dry_options, 1, 1, ops_user_mfa_reset},
	{"user quota", "NAME", "Say how much a person may have", NULL, user_quota_options, 1, 1,
		ops_user_quota},
	{"invite create", NULL, "Make an invitation to register",
		"With [accounts] registration = invite a person needs one. The token is shown "
		"once.",
		invite_create_options, 0, 0, ops_invite_create},
	{"invite list", NULL, "List invitations that are good", NULL, NULL, 0, 0, ops_invite_list},
	{"invite revoke", "ID", "Take an invitation back",
		"ID is what list shows: the SHA-256 of its token.", NULL, 1, 1, ops_invite_revoke},
	{"leader show", NULL, "Show the leader", NULL, NULL, 0, 0, ops_leader_show},
	{"leader transfer", "[NODE]", "Hand leadership to a node, or to the best one",
		"NODE is a number or a site. Only the leader can: with several --socket each is "
		"asked until one is it.",
		NULL, 0, 1, ops_leader_transfer},
	{"snapshot save", NULL, "Take a snapshot on this node and ship it to the other sites", NULL,
		save_options, 0, 0, ops_snapshot_save},
	{"snapshot list", NULL, "List snapshots, newest first", NULL, list_options, 0, 0,
		ops_snapshot_list},
	{"snapshot inspect", "ID", "Show a snapshot",
		"ID is the number that list shows; with --repository also 8 or more digits of the "
		"manifest's hash.",
		list_options, 1, 1, ops_snapshot_inspect},
	{"snapshot verify", "ID", "Check a snapshot",
		"Of the copies a node holds, or with --repository of a directory, without any "
		"running node.",
		verify_options, 1, 1, ops_snapshot_verify},
	{"snapshot pin", "ID", "Keep a snapshot beyond retention, at every site",
		"With all that its point is made of, up to 42 cycles. At most 64 are pinned. A "
		"restore of the cluster begins\nwithout pins. Exit 11: not finished, or 64 are "
		"pinned; 10: out of retention already.",
		NULL, 1, 1, ops_snapshot_pin},
	{"snapshot unpin", "ID", "Let a snapshot go by age and count again", NULL, NULL, 1, 1,
		ops_snapshot_unpin},
	{"restore plan", NULL, "Show what a restore would do, and do nothing",
		"What it reads and writes, how long that takes, what is lost, what it needs. "
		"Without --key-file the bytes to write\nlie between those of the newest snapshot "
		"and those of all in its chain. A living node is asked what it has\nbeyond the "
		"snapshot when --socket or --ssh is given, or the default socket is there.",
		plan_options, 0, 0, ops_restore_plan},
	{"restore cluster", NULL, "Restore this node's store from a snapshot",
		"To be run for each node of the cluster, with the same --snapshot and --record; "
		"then 'kluisd init --restored'\nfor each. Always into a data directory without a "
		"store. Clients ask their users about the signed record.\nCut off, it is started "
		"again with the same words: --deletions beside a record that is there must know of "
		"nothing that\nthe record lacks.",
		restore_options, 0, 0, ops_restore_cluster},
	{"restore vault", "VAULT", "Take one vault as it was out of a snapshot, for its owner",
		"VAULT is its id ('kluis vault list' shows it). No node is asked, and none stops: "
		"the copy is ciphertext under\nits owner's keys and signature, who takes it up "
		"with 'kluis vault restore'. What was deleted since is not\ngiven out.",
		restore_vault_options, 1, 1, ops_restore_vault},
	{"pki init", NULL, "Make the provider CA, the node CA and the operator restore key", NULL,
		pki_init_options, 0, 0, ops_pki_init},
	{"pki issue", NULL, "Make a node's certificates", NULL, pki_issue_options, 0, 0,
		ops_pki_issue},
	{"backup schedule", NULL,
		"Show when the cluster takes snapshots by itself, and who is next", NULL, NULL, 0,
		0, ops_backup_schedule},
	{"backup run", NULL, "Take the next snapshot of the schedule now, on this node",
		"As if a cycle were due: an increment behind the last one, or the first, full one.",
		save_options, 0, 0, ops_backup_run},
	{"backup status", NULL, "Show how well the cluster is backed up",
		"Each snapshot with the sites that hold it, what each site's checks found last, "
		"what each site made of the newest state root, the last proven restore.\nA site "
		"that the node asked has no link to is AWAY: what it held "
		"does not count.\nThe record of a snapshot that retention has let go is "
		"'expired'.\nThe exit code is of the first of these that is so: 10: none was ever "
		"confirmed; 11: the newest is older than --max-age; 14: a check found damage, or a "
		"state root differs;\n3: this site takes no part; 11: what was changed or deleted "
		"ten minutes ago is in no backup or journal;\n3: copies are missing, a snapshot "
		"has failed since, no restore was proven for too long, or a site owes its state "
		"root.",
		backup_status_options, 0, 0, ops_backup_status},
	{"backup drill", "[ID]", "Prove that a snapshot can be restored",
		"Restores it, or the newest, into a scratch directory, boots it there alone, "
		"compares every "
		"row, leaves nothing, also\nwhen a signal ends it (exit 128 and the signal's "
		"number).\nThe cluster is told (--socket), and 'backup status' shows "
		"it as the "
		"last proven restore of the site that is asked:\nonly of its own copies, or (when "
		"it was good) of a copy of them, as the deletion journal there says whose they "
		"are;\nelse it says why it is not recorded.\nExit 11: another drill works in "
		"that directory; 13: the node that is to record it does not answer; 14: the\n"
		"snapshot does not restore.",
		backup_drill_options, 0, 1, ops_backup_drill},
	{"backup keys init", NULL, "Make the offline key pair that backups are sealed to", NULL,
		backup_init_options, 0, 0, ops_backup_keys_init},
	{"backup keys rotate", NULL, "Make a new pair in place of the one there",
		"The old pair stays, named by its key id: what is sealed to it needs it. Nodes "
		"seal to "
		"the new backup.pub when they\nhave it and were reloaded.",
		backup_rotate_options, 0, 0, ops_backup_keys_rotate},
	{"backup keys split", NULL, "Split the private backup key among several keepers",
		"Shares are words (SLIP-0039, no passphrase), which other programs can combine, "
		"too. Files are read back and combined\nbefore the command says that all went "
		"well. What --print shows is not: 'backup keys combine' without SHARE, typed "
		"from\nwhat was written down, says whether it is good.",
		backup_split_options, 0, 0, ops_backup_keys_split},
	{"backup keys combine", "[SHARE...]", "Make the private backup key of shares",
		"SHARE is a file; without any, the words are asked for at the terminal.",
		backup_combine_options, 0, 16, ops_backup_keys_combine},
	{"backup keys sign", NULL, "Make the key pair a node signs its snapshots with", NULL,
		backup_sign_options, 0, 0, ops_backup_keys_sign},
	{"ssh keys", NULL, "Show the SSH keys and end points that a node's settings pin", NULL,
		ssh_options, 0, 0, ops_ssh_keys},
	{"ssh trust", NULL, "Make the receivers' and the settings' view of who ships to whom",
		"From each site two files, carried by hand: NAME.host.pub, its receiver's host "
		"key, "
		"and NAME.ship.pub, the key\nit ships with; two lines there while that is changed. "
		"Nothing is asked of the network.",
		ssh_trust_options, 0, 0, ops_ssh_trust},
	{"ssh check", NULL, "Sign in at all receivers as this node does, and ship nothing",
		"Exit 15 when a host key is not the pinned one.", ssh_check_options, 0, 0,
		ops_ssh_check},
	{"ssh rotate", NULL, "Change the key that this node ships with",
		"First without --finish: a new key beside the old one. With it, once all receivers "
		"have its line: signs in\neverywhere with the new key, and only then puts it in "
		"the old one's place.",
		ssh_rotate_options, 0, 0, ops_ssh_rotate},
	{"diagnose", NULL, "Collect what every node asked says about itself, without secrets", NULL,
		diagnose_options, 0, 0, ops_diagnose},
	{"bench", NULL, "Measure a cluster under load",
		"Puts are whole commits: a new sealed page and a signed head each, made before the "
		"clock runs; gets compare\nevery byte. Each client has one request under way. "
		"Needs an enrolled service account and no admin socket.\nIts vaults are labelled "
		"'kluisctl bench' and removed afterwards, or by the next run if this one is cut "
		"off.",
		bench_options, 0, 0, ops_bench},
	{"admin-proxy", NULL, "Join standard input and output to the admin socket",
		"What --ssh runs at the other end.", NULL, 0, 0, ops_admin_proxy},
	{"version", NULL, "Show the version", NULL, NULL, 0, 0, command_run_version},
	{"completion", "SHELL", "Print a completion script (bash)", NULL, NULL, 1, 1,
		command_run_completion},
	{"help", "[COMMAND]", "Show help", NULL, help_options, 0, 3, command_run_help},
	{NULL, NULL, NULL, NULL, NULL, 0, 0, NULL},
};

static const struct command_option ops_options[] = {
	{"socket", 'S', "PATH",
		"Admin socket of a node (" OPS_SOCKET_DEFAULT "); several for status and diagnose"},
	{"ssh", 0, "USER@HOST",
		"Instead: by ssh to a node's machine, where it runs 'kluisctl admin-proxy'; its "
		"host "
		"key must be known"},
	{"timeout", 't', "SECONDS",
		"Give up after this long (10; snapshot save and backup run --wait: 600, member: "
		"120)"},
	{NULL, 0, NULL, NULL},
};

const struct program ops_program = {.name = "kluisctl",
	.summary = "Operate a Kluis cluster",
	.commands = ops_commands,
	.options = ops_options};
