/* The table of commands: help, completion and docs/cli-kluis.md are made from it. */
#include "cli/vault/app.h"
#include "cli/vault/fields.h"
#include "cli/vault/secrets.h"
#include "cli/vault/trust.h"

#define RSA_KEY_OPTION                                                                            \
	{                                                                                         \
		"rsa-key", 0, NULL,                                                               \
			"Have others give you vaults and groups by a key of RSA-4096 (RSA-OAEP) " \
			"from now on, instead of one of a curve"                                  \
	}

static const struct command_option enrol_options[] = {
	{"name", 'n', "ACCOUNT", "The service account, as the operator named it"},
	TRUST_OPTIONS,
	{"token-file", 0, "FILE", "File with the one-time enrolment token; - for stdin"},
	{"token-fd", 0, "N", "Descriptor to read the token from; without either it is asked for"},
	{"device", 0, "NAME", "Name of this device (default: the host's)"},
	{NULL, 0, NULL, NULL},
};

static const struct command_option register_options[] = {
	{"name", 'n', "USER", "The name to sign in by: 1 to 64 of a-z 0-9 . _ @ + -"},
	TRUST_OPTIONS,
	SECRETS_OPTIONS_PASSWORD,
	{"invite-file", 0, "FILE", "File with the operator's invitation; - for stdin"},
	{"invite-fd", 0, "N", "Descriptor to read the invitation from"},
	{"sheet", 0, "FILE", "Write the emergency sheet, with the account key, to this new file"},
	SECRETS_OPTIONS_RECOVERY,
	{"no-account-key", 0, NULL,
		"Make none: the password alone then keeps who steals the cluster's data out"},
	RSA_KEY_OPTION,
	{"device", 0, "NAME", "Name of this device (default: the host's)"},
	{"lock-after", 0, "SECONDS", "The agent locks when not used for so long (900)"},
	{NULL, 0, NULL, NULL},
};

static const struct command_option login_options[] = {
	{"name", 'n', "USER", "On a new device: whose account"},
	TRUST_OPTIONS,
	SECRETS_OPTIONS_PASSWORD,
	{"old-password-file", 0, "FILE",
		"File with the password before, when it was changed on another device and this "
		"account takes enrolled devices alone"},
	{"old-password-fd", 0, "N", "Descriptor to read that from"},
	SECRETS_OPTIONS_ACCOUNT_KEY,
	SECRETS_OPTIONS_CODE,
	{"device", 0, "NAME", "On a new device: its name (default: the host's)"},
	{"wait", 0, "SECONDS",
		"On a new device: wait so long for another one's approval (3600; without a "
		"terminal 0)"},
	{"lock-after", 0, "SECONDS", "The agent locks when not used for so long (900)"},
	{NULL, 0, NULL, NULL},
};

static const struct command_option passwd_options[] = {
	SECRETS_OPTIONS_PASSWORD,
	SECRETS_OPTIONS_NEW_PASSWORD,
	SECRETS_OPTIONS_CODE,
	SECRETS_OPTIONS_RECOVERY,
	{"new-keys", 0, NULL,
		"Sign with another key from now on, too, and write to all vaults under other "
		"keys"},
	RSA_KEY_OPTION,
	{"lock-after", 0, "SECONDS", "The agent locks when not used for so long (900)"},
	{NULL, 0, NULL, NULL},
};

static const struct command_option recover_options[] = {
	{"name", 'n', "USER", "On a new device: whose account"},
	TRUST_OPTIONS,
	{"old-code-file", 0, "FILE", "File with the recovery code; - for stdin"},
	{"old-code-fd", 0, "N",
		"Descriptor to read the recovery code from; without either it is asked for"},
	SECRETS_OPTIONS_NEW_PASSWORD,
	SECRETS_OPTIONS_CODE,
	SECRETS_OPTIONS_RECOVERY,
	{NULL, 0, NULL, NULL},
};

static const struct command_option mfa_add_options[] = {
	{"label", 'l', "TEXT", "What to call it in lists"},
	{"uri-file", 0, "FILE",
		"Write the app's otpauth:// line to this new file, instead of showing it at the "
		"terminal; 'mfa confirm' then ends it"},
	SECRETS_OPTIONS_CODE,
	SECRETS_OPTIONS_PASSWORD,
	{NULL, 0, NULL, NULL},
};

static const struct command_option mfa_remove_options[] = {
	SECRETS_OPTIONS_CODE,
	SECRETS_OPTIONS_PASSWORD,
	{NULL, 0, NULL, NULL},
};

static const struct command_option mfa_options[] = {
	SECRETS_OPTIONS_CODE,
	{NULL, 0, NULL, NULL},
};

static const struct command_option policy_options[] = {
	{"no-web-login", 0, "on|off", "Refuse to sign in from a browser"},
	{"device-only", 0, "on|off", "Refuse to sign in from what is no enrolled device"},
	{NULL, 0, NULL, NULL},
};

static const struct command_option delete_options[] = {
	{"leave-unmanaged", 0, NULL,
		"Also when others are in what nobody else could manage: it stays as it is"},
	SECRETS_OPTIONS_PASSWORD,
	SECRETS_OPTIONS_CODE,
	{NULL, 0, NULL, NULL},
};

static const struct command_option revoke_options[] = {
	{"leave-out", 0, "VAULT",
		"Revoke although this vault (or group or conversation, by its id) cannot be "
		"vouched for; may be given several times"},
	{NULL, 0, NULL, NULL},
};

static const struct command_option contact_options[] = {
	{"number", 0, "NUMBER",
		"The number that USER sees for you, if you have it: compared instead of asked for"},
	{NULL, 0, NULL, NULL},
};

static const struct command_option push_add_options[] = {
	{"p256dh", 0, "KEY", "Of a browser's subscription: its key, in base64url"},
	{"auth", 0, "SECRET", "Of a browser's subscription: its secret, in base64url"},
	{NULL, 0, NULL, NULL},
};

static const struct command_option share_options[] = {
	{"with", 'w', "USER", "Whom it is given to"},
	{"days", 0, "N", "For so many days (7), at most 30"},
	{"page", 0, "N", "Not a file: this page of the vault, with all that is in it"},
	{NULL, 0, NULL, NULL},
};

static const struct command_option inbox_token_options[] = {
	{"label", 'l', "TEXT", "What to call it in lists; the cluster can read that"},
	{"days", 0, "N", "Ends after so many days (365)"},
	{"docs", 0, "N", "Ends after so many documents (100000)"},
	{NULL, 0, NULL, NULL},
};

static const struct command_option inbox_deliver_options[] = {
	{"text", 0, NULL, "It is plain text, and no mail"},
	{"anonymous", 0, NULL, "Mark it as from nobody known, instead of from a provider"},
	{NULL, 0, NULL, NULL},
};

static const struct command_option chat_new_options[] = {
	{"no-history", 0, NULL, "Do not archive what is read"},
	{NULL, 0, NULL, NULL},
};

static const struct command_option chat_history_options[] = {
	{"on", 0, NULL, "Archive what is read from now on; by an admin of the conversation"},
	{"off", 0, NULL, "Archive no more; what is archived stays"},
	{NULL, 0, NULL, NULL},
};

static const struct command_option chat_send_options[] = {
	{"text-file", 0, "FILE", "File with the text; - for stdin, as without it"},
	{"lines", 0, NULL, "Each line of stdin is a message, sent as it comes"},
	{"attach", 0, "FILE", "Instead: this file; may be given several times"},
	{"edit", 0, "NUMBER", "Instead: another text for that message of yours"},
	{"delete", 0, "NUMBER", "Instead: that message of yours is not to be shown any more"},
	{"title", 0, "TITLE", "Instead: another title for the conversation"},
	{"notify", 0, NULL, "Have the members' devices notified that there is a message"},
	{NULL, 0, NULL, NULL},
};

static const struct command_option chat_read_options[] = {
	{"last", 0, "N",
		"The newest N messages, those that were read before from the history; a device "
		"that has read nothing begins with them"},
	{"save", 0, "DIR", "Save the files among them there, as NUMBER-NAME"},
	{"no-receipt", 0, NULL, "Do not tell that it was read, only that it arrived"},
	{NULL, 0, NULL, NULL},
};

static const struct command_option chat_follow_options[] = {
	{"for", 0, "SECONDS", "End after this long (default: never)"},
	{"no-receipt", 0, NULL, "Do not tell that it was read, only that it arrived"},
	{NULL, 0, NULL, NULL},
};

static const struct command_option chat_members_options[] = {
	{"add", 0, "USER", "Ask USER in; may be given several times"},
	{"remove", 0, "USER", "Take USER out; may be given several times"},
	{NULL, 0, NULL, NULL},
};

static const struct command_option chat_transfer_options[] = {
	{"role", 0, "ROLE", "What you keep: write (default) or read"},
	{NULL, 0, NULL, NULL},
};

static const struct command_option follow_options[] = {
	{"since", 0, "CURSOR", "Go on behind this line's (its \"cursor\"): nothing is left out"},
	{"for", 0, "SECONDS", "End after this long (default: never)"},
	{NULL, 0, NULL, NULL},
};

static const struct command_option vault_restore_options[] = {
	{"into", 0, "/FOLDER",
		"Where it goes; / writes over what is there, whose history keeps it (default: a "
		"new folder '/restored TIME')"},
	{NULL, 0, NULL, NULL},
};

static const struct command_option vault_share_options[] = {
	{"role", 0, "ROLE", "read (default), write or admin"},
	{"verified-only", 0, "on|off",
		"Whether this device shares it with verified contacts alone"},
	{NULL, 0, NULL, NULL},
};

static const struct command_option vault_transfer_options[] = {
	{"role", 0, "ROLE", "What you keep: write (default) or read"},
	{NULL, 0, NULL, NULL},
};

static const struct command_option group_add_options[] = {
	{"role", 0, "ROLE", "read (a member, default) or admin"},
	{NULL, 0, NULL, NULL},
};

static const struct command_option put_options[] = {
	{"recursive", 'r', NULL, "Folders, with all that is in them"},
	{"force", 'f', NULL, "Store also what is there with the same content"},
	{NULL, 0, NULL, NULL},
};

static const struct command_option get_options[] = {
	{"recursive", 'r', NULL, "Folders, with all that is in them"},
	{"no-clobber", 'n', NULL, "Leave alone what is there already"},
	{NULL, 0, NULL, NULL},
};

static const struct command_option ls_options[] = {
	{"recursive", 'r', NULL, "All that is below, too"},
	{NULL, 0, NULL, NULL},
};

static const struct command_option rm_options[] = {
	{"recursive", 'r', NULL, "Folders, with all that is in them"},
	{"dry-run", 'n', NULL, "Show what would be removed, and remove nothing"},
	{NULL, 0, NULL, NULL},
};

static const struct command_option vault_delete_options[] = {
	{"dry-run", 'n', NULL, "Show the vault, and do nothing"},
	{NULL, 0, NULL, NULL},
};

static const struct command_option group_delete_options[] = {
	{"dry-run", 'n', NULL, "Show the group, and do nothing"},
	{NULL, 0, NULL, NULL},
};

static const struct command_option inbox_delete_options[] = {
	{"dry-run", 'n', NULL, "Show the documents, and do nothing"},
	{NULL, 0, NULL, NULL},
};

static const struct command_option chat_leave_options[] = {
	{"dry-run", 'n', NULL, "Show the conversation, and do nothing"},
	{NULL, 0, NULL, NULL},
};

static const struct command_option note_options[] = {
	FIELDS_OPTIONS_NOTE,
	{NULL, 0, NULL, NULL},
};

static const struct command_option item_add_options[] = {
	{"type", 0, "TYPE", "login (default) or note"},
	FIELDS_OPTIONS_LOGIN,
	{NULL, 0, NULL, NULL},
};

static const struct command_option item_edit_options[] = {
	FIELDS_OPTIONS_LOGIN,
	{NULL, 0, NULL, NULL},
};

static const struct command_option item_list_options[] = {
	{"type", 0, "TYPE", "Only note or only login"},
	{NULL, 0, NULL, NULL},
};

static const struct command_option item_show_options[] = {
	{"reveal", 'r', NULL, "Show the password, too"},
	{"field", 'f', "FIELD", "Only this, as it is: title, user, password, url or text"},
	{NULL, 0, NULL, NULL},
};

static const struct command_option agent_options[] = {
	{"lock-after", 0, "SECONDS", "Lock when not used for so long (900)"},
	{"foreground", 0, NULL, "Be the agent, instead of starting one"},
	{NULL, 0, NULL, NULL},
};

static const struct command_option sync_options[] = {
	{"files", 'f', NULL, "The content of files, too"},
	{NULL, 0, NULL, NULL},
};

static const struct command_option history_options[] = {
	{"all", 'a', NULL, "Also what lay there before and was removed or moved (slower)"},
	{NULL, 0, NULL, NULL},
};

static const struct command_option help_options[] = {
	{"markdown", 0, NULL, "The reference page of all commands"},
	{NULL, 0, NULL, NULL},
};

static const struct command app_commands[] = {
	{"enrol", NULL, "Enrol this device for a service account",
		"Makes the account's keys in a new profile, pins the cluster's CA and operator "
		"restore key, and spends\nthe one-time token that 'kluisctl service create' gave. "
		"Without --ca or --ca-pin the CA's pin is shown\nand you are asked whether it is "
		"the right one. Run it again with the same token if the answer was lost.",
		enrol_options, 0, 0, app_enrol},
	{"register", NULL, "Make an account for yourself, and sign in",
		"Makes your keys, seals them under your password, and shows a recovery code this "
		"once. Without --ca or --ca-pin\nthe CA's pin is shown and you are asked whether "
		"it is the right one. The account key belongs to the password on\nevery new "
		"device: keep the emergency sheet (--sheet, or 'kluis account sheet' later). Run "
		"it "
		"again with the same\npassword if the answer was lost.",
		register_options, 0, 0, app_register},
	{"login", NULL, "Sign in, and have the agent hold your keys",
		"Asks for the password and, where the account has one, for a second factor. On a "
		"new device (--name and\n--endpoints) the account key is asked for, too, and "
		"another device of yours has to approve this one before it\ncan write: until then "
		"it reads.",
		login_options, 0, 0, app_login},
	{"passwd", NULL, "Change the password",
		"Everything is sealed under new keys, all other sessions end, and a new recovery "
		"code takes the old one's place.\nWhen a device was revoked since the last "
		"time, the key that you sign with and those that vaults are written\nunder are "
		"made anew as well (--new-keys does it in any case): what whoever opened that "
		"device, or an older\nkeyring by an older password, had of them opens nothing "
		"that is written from then on.",
		passwd_options, 0, 0, app_passwd},
	{"recover", NULL, "Set a new password by the recovery code",
		"At the end it lists the account's devices and second factors: after 'kluis login' "
		"take out what is not yours\n('device revoke', 'mfa remove').",
		recover_options, 0, 0, app_recover},
	{"device list", NULL, "List your devices", NULL, NULL, 0, 0, app_device_list},
	{"device approve", "DEVICE", "Let a new device of yours sign as you",
		"DEVICE is the id that the new device shows, or its name. Names and ids anybody "
		"can choose who has\n"
		"the password: compare the key that both show.",
		NULL, 1, 1, app_device_approve},
	{"device revoke", "DEVICE", "Take a device that is lost or old out of your account",
		"Its sessions end and nothing that it signs from now on counts. What it wrote "
		"before is vouched for, for which all vaults\nare synced: where one cannot be you "
		"are asked, as what it wrote there may be lost. DEVICE is an id or a name\nof "
		"'kluis device list'. If somebody may have opened it, run 'kluis passwd' next: "
		"that makes all your keys anew.",
		revoke_options, 1, 1, app_device_revoke},
	{"mfa list", NULL, "List your second factors", NULL, NULL, 0, 0, app_mfa_list},
	{"mfa add", "METHOD [NETWORK|PLACE...]", "Turn on a second factor",
		"METHOD is totp (an authenticator app), hotp (a token that counts) or fido2 (a "
		"FIDO2 "
		"or U2F key on USB): every\nlogin then asks for a code or for a touch of the key. "
		"Or ip and location, which let logins in only from the "
		"NETWORKs (192.0.2.0/24) or PLACEs (NL, AS64496, a name of the\ncluster's own "
		"table) that follow. Where another factor is on, a proof by that is asked for, "
		"too;\nwhere none is, the password, unless it was given in the last five minutes.",
		mfa_add_options, 1, 33, app_mfa_add},
	{"mfa confirm", "FACTOR", "Have a new factor count, by its first proof",
		"FACTOR is an id of 'kluis mfa list'.", mfa_options, 1, 1, app_mfa_confirm},
	{"mfa remove", "FACTOR", "Turn off a second factor",
		"Asks for a proof, or for the password where no factor asks for one, unless the "
		"factor is pending. FACTOR\nis an id of 'kluis mfa list'.",
		mfa_remove_options, 1, 1, app_mfa_remove},
	{"account show", NULL, "Show your account as the cluster has it", NULL, NULL, 0, 0,
		app_account_show},
	{"account sheet", "FILE", "Write the emergency sheet to a new file", NULL, NULL, 1, 1,
		app_account_sheet},
	{"account sessions", NULL, "List your sessions", NULL, NULL, 0, 0, app_account_sessions},
	{"account log", NULL, "Show what happened to your account, and who did it",
		"Each row has the hash of the one before: that is checked, and that what this "
		"device saw before is still there\n(exit 15).",
		NULL, 0, 0, app_account_log},
	{"account export", "FILE", "Write all that the cluster keeps of you to a new file",
		"What is sealed stays sealed. Vaults are not in it: 'kluis get -r' fetches them.",
		NULL, 1, 1, app_account_export},
	{"account policy", NULL, "Set who may sign in", NULL, policy_options, 0, 0,
		app_account_policy},
	{"account revoke-rsa", NULL, "Revoke your RSA key ('kluis passwd --rsa-key')",
		"Others give you vaults and groups by your key of a curve again. What was given by "
		"the RSA key opens as before, until\n'passwd --rsa-key' makes another one: accept "
		"and 'kluis sync' before that. Safety numbers change by it.",
		NULL, 0, 0, app_account_revoke_rsa},
	{"account delete", NULL, "Delete your account and all its vaults, for good",
		"Asks for the password. The name is never given again. What is shared with others "
		"stays with them: what you\nalone manage is named, and nothing is deleted before "
		"you handed it over or say so.",
		delete_options, 0, 0, app_account_delete},
	{"contact verify", "USER", "Compare safety numbers with somebody",
		"Shows the number that USER sees for you as well, and remembers that you compared "
		"it: from then on another identity\nunder that name is refused (exit 15). --yes "
		"does not answer for you.",
		contact_options, 1, 1, app_contact_verify},
	{"logout", NULL, "End this device's session on all sites",
		"A person's agent forgets its keys and ends.", NULL, 0, 0, app_logout},
	{"vault create", "NAME", "Make a vault", NULL, NULL, 1, 1, app_vault_create},
	{"vault list", NULL, "List the account's vaults",
		"One that the cluster does not list, although you have seen it, has the role "
		"'missing' (exit 15).",
		NULL, 0, 0, app_vault_list},
	{"vault restore", "VAULT COPY", "Take up what a vault held when a snapshot was taken",
		"COPY is what an operator took out with 'kluisctl restore vault'. All in it is "
		"checked, and stored anew beside what\nis there. --copy shows it before, and "
		"takes single files out.",
		vault_restore_options, 2, 2, app_vault_restore},
	{"vault delete", "NAME", "Delete a vault on all sites, for good",
		"Its key leaves your keyring with it, so that no other device of yours misses it, "
		"and no copy of it can be read\nany more. NAME is the vault's name or id. If the "
		"answer was lost, 'kluis vault forget' ends it.",
		vault_delete_options, 1, 1, app_vault_delete},
	{"vault forget", "NAME", "Give up a vault that the cluster denies",
		"For one that was deleted elsewhere, so that 'sync' and 'vault list' miss it no "
		"longer (exit 15). The cluster cannot\nprove a deletion, and one that withholds a "
		"vault looks the same: you are asked. The key leaves your keyring, for\nall your "
		"devices, and with it every way to read the vault. NAME is its name or the id that "
		"'kluis vault list' shows.",
		NULL, 1, 1, app_vault_forget},
	{"vault share", "VAULT [USER|group:GROUP]", "Share a vault with somebody",
		"They read all that is in it, with --role write they also write, as admins they "
		"share it further. Nothing is theirs\nbefore they accept ('kluis vault accept'): "
		"a service account, which cannot, stays invited. For a member who is there\n"
		"already --role is another role. With --verified-only on, this device shares the "
		"vault with those alone whose safety\nnumbers you compared ('kluis contact "
		"verify').",
		vault_share_options, 1, 2, app_vault_share},
	{"vault unshare", "VAULT USER|group:GROUP", "Take somebody out of a vault",
		"The vault gets a new key, which goes to those who remain, in the same step: what "
		"is written from then on who\nwas taken out cannot read, and writes nothing. What "
		"they have read they may have kept.",
		NULL, 2, 2, app_vault_unshare},
	{"vault members", "VAULT", "List who is in a vault",
		"By what its admins signed. A list of the cluster that says something else is "
		"refused (exit 14).",
		NULL, 1, 1, app_vault_members},
	{"vault rekey", "VAULT", "Write to a vault under a new key from now on",
		"It goes to all its members. For when a key may have leaked.", NULL, 1, 1,
		app_vault_rekey},
	{"vault transfer", "VAULT USER", "Hand a vault over to another member",
		"USER, who has accepted it, becomes its admin; you keep the role write, or that of "
		"--role. What it holds stays\ncharged to who founded it: it counts against that "
		"account's quota until the vault is deleted.",
		vault_transfer_options, 2, 2, app_vault_transfer},
	{"vault invitations", NULL, "List the vaults and groups that others invite you to",
		"PROBLEM says what is wrong with one that no admin signed: do not accept it.", NULL,
		0, 0, app_vault_invitations},
	{"vault accept", "ID", "Accept an invitation to a vault or a group",
		"ID is that of 'kluis vault invitations'.", NULL, 1, 1, app_vault_accept},
	{"vault decline", "ID|VAULT|group:GROUP",
		"Decline an invitation, or leave a vault or a group",
		"ID is that of 'kluis vault invitations'. The only admin hands over first ('kluis "
		"vault transfer', 'kluis group\ntransfer'). Of what one left 'kluis vault forget' "
		"drops the key.",
		NULL, 1, 1, app_vault_decline},
	{"group create", "NAME", "Make a group of users to share vaults with",
		"Share a vault with it by 'kluis vault share VAULT group:NAME'.", NULL, 1, 1,
		app_group_create},
	{"group list", NULL, "List your groups", NULL, NULL, 0, 0, app_group_list},
	{"group add", "GROUP USER", "Add somebody to a group",
		"They get all that is shared with it, once they accept ('kluis vault accept').",
		group_add_options, 2, 2, app_group_add},
	{"group role", "GROUP USER ROLE", "Make a member an admin of a group, or an admin a member",
		"ROLE is read (a member) or admin. One admin remains: of the last one the role "
		"stays.",
		NULL, 3, 3, app_group_role},
	{"group transfer", "GROUP USER", "Hand a group over to another member",
		"USER, who has accepted it, becomes its admin, you a member. The vaults that are "
		"shared with it are not handed over:\nthose that USER is no admin of are named. "
		"Until USER is one ('kluis vault share VAULT USER --role admin', 'kluis\nvault "
		"transfer') USER takes nobody out of the group.",
		NULL, 2, 2, app_group_transfer},
	{"group remove", "GROUP USER", "Take somebody out of a group",
		"The group and every vault that is shared with it get new keys, for those who "
		"remain, in one step. You have to be an\nadmin of all these vaults: the first one "
		"that you are not is named.",
		NULL, 2, 2, app_group_remove},
	{"group members", "GROUP", "List who is in a group", NULL, NULL, 1, 1, app_group_members},
	{"group rekey", "GROUP", "Give a group and all its vaults new keys",
		"For when a key may have leaked.", NULL, 1, 1, app_group_rekey},
	{"group delete", "GROUP", "Delete a group that no vault is shared with", NULL,
		group_delete_options, 1, 1, app_group_delete},
	{"put", "SOURCE... VAULT:/PATH", "Store files",
		"SOURCE - is stdin, which needs a name in PATH. A PATH that ends in '/', is the "
		"root, or is a folder takes the "
		"sources under their own\nnames; else the one source gets PATH as its name. With "
		"-r a folder becomes PATH, and its content goes\ninto the root when PATH is '/'. "
		"What is there with the same content is left alone. An interrupted put\ngoes on "
		"where it was when it is run again. Links and devices are not stored: exit 3 says "
		"so.",
		put_options, 2, 100000, app_put},
	{"get", "VAULT:/PATH... DESTINATION", "Fetch files, verified",
		"A file that is there is replaced, as by cp and scp (-n leaves it), and only when "
		"all of the new one was\nverified: whatever happens before, the old one stays. "
		"Permission bits and time come with it. With -r a\nfolder becomes DESTINATION, or "
		"a "
		"folder in it when it exists. DESTINATION - is stdout. A place that\ncannot be "
		"written is left out: exit 3 says so.",
		get_options, 2, 100000, app_get},
	{"cat", "VAULT:/PATH...", "Write files to stdout", NULL, NULL, 1, 100000, app_cat},
	{"ls", "VAULT[:/PATH]", "List a folder", NULL, ls_options, 1, 1, app_ls},
	{"rm", "VAULT:/PATH...", "Remove files", NULL, rm_options, 1, 100000, app_rm},
	{"mv", "VAULT:/PATH... VAULT:/PATH", "Rename, or move to another folder",
		"The last PATH is a folder that is there, ends in '/', or is the new name. What is "
		"there is never replaced.",
		NULL, 2, 100000, app_mv},
	{"note add", "VAULT:/PATH", "Keep a note",
		"Its text comes from --text-file, or is typed in your editor (see 'edit').",
		note_options, 1, 1, app_note_add},
	{"note show", "VAULT:/PATH...", "Show notes", NULL, item_show_options, 1, 1000,
		app_item_show},
	{"note edit", "VAULT:/PATH", "Change a note",
		"With options what they give is set, without them it is taken to your editor.",
		note_options, 1, 1, app_note_edit},
	{"note list", "VAULT[:/PATH]", "List the notes in a folder and all below", NULL, NULL, 1, 1,
		app_note_list},
	{"item add", "VAULT:/PATH", "Keep a login: user name, password, URL, text",
		"The password is asked for, or comes from --password-file, --password-fd or "
		"--generate, never from the\ncommand line.",
		item_add_options, 1, 1, app_item_add},
	{"item show", "VAULT:/PATH...", "Show logins and notes",
		"The password is not shown, unless --reveal or --field password asks for it.",
		item_show_options, 1, 1000, app_item_show},
	{"item edit", "VAULT:/PATH", "Change a login or a note",
		"With options what they give is set, without them it is taken to your editor.",
		item_edit_options, 1, 1, app_item_edit},
	{"item list", "VAULT[:/PATH]", "List the logins and notes in a folder and all below", NULL,
		item_list_options, 1, 1, app_item_list},
	{"edit", "VAULT:/PATH", "Change a file, a note or a login in your editor",
		"VISUAL or EDITOR is run on a file that is in memory alone (a tmpfs: "
		"XDG_RUNTIME_DIR or /dev/shm; without\none it is refused) and overwritten when it "
		"is done. See that your editor keeps no copies elsewhere (vim:\n-n -i NONE). What "
		"another device changed meanwhile is kept, too, under its own name.",
		NULL, 1, 1, app_edit},
	{"search", "VAULT[:/PATH] [WORD...]", "Find items by words in names, titles and texts",
		"What has all the words, upper and lower case alike, is listed; passwords are not "
		"looked at. Without a WORD\nthe vault is opened once and each line of stdin is a "
		"query. Nothing of it is kept on disk but ciphertext.",
		NULL, 1, 33, app_search},
	{"chat new", "TITLE USER...", "Begin a conversation with others",
		"They are invited, and read it once they have accepted. Only the members' devices "
		"can open what is written in\nit, and each message once. What they read is "
		"archived in a vault that they share, for the devices that come later.",
		chat_new_options, 2, 200, app_chat_new},
	{"chat list", NULL, "List your conversations and invitations", NULL, NULL, 0, 0,
		app_chat_list},
	{"chat accept", "CHAT", "Accept an invitation",
		"CHAT is a title or the beginning of an id, as 'kluis chat list' shows it.", NULL,
		1, 1, app_chat_accept},
	{"chat leave", "CHAT", "Leave a conversation, or decline an invitation",
		"Its only admin hands it over first ('kluis chat transfer').", chat_leave_options,
		1, 1, app_chat_leave},
	{"chat members", "CHAT", "List who is in a conversation, and how far they have read",
		"An admin of it adds and removes. Who they are is verified; what they answered and "
		"read is the cluster's word.",
		chat_members_options, 1, 1, app_chat_members},
	{"chat role", "CHAT USER ROLE", "Let a member read, write or manage a conversation",
		"ROLE is read, write or admin; everybody who is asked in may write. What somebody "
		"says who may only read no member's\ndevice shows. One admin remains: of the "
		"last one the role stays.",
		NULL, 3, 3, app_chat_role},
	{"chat transfer", "CHAT USER", "Hand a conversation over to another member",
		"USER, who has accepted it, becomes its admin, and manages its history; you keep "
		"the role write, or that of --role.\nThe history's vault stays charged to who "
		"founded it.",
		chat_transfer_options, 2, 2, app_chat_transfer},
	{"chat send", "CHAT", "Send a message",
		"The text comes from stdin. What could not be sent, because no site was reached, "
		"goes out with the next 'chat\nsend', 'read' or 'follow', and once.",
		chat_send_options, 1, 1, app_chat_send},
	{"chat read", "CHAT", "Show what came since the last time",
		"Each message opens once: what was shown is not shown again. Whatever the cluster "
		"dropped, moved, or shows to others\nalone is said beside the message that gives "
		"it away (exit 14 or 15).\nWhat the history has, and does not hold, is passed "
		"over, "
		"and told at the end (likewise). Whoever switched\nthe history since is not known: "
		"that somebody did is said.",
		chat_read_options, 1, 1, app_chat_read},
	{"chat history", "CHAT", "Show what is archived of a conversation, or switch that",
		"Who reads archives: each message as its writer signed it, with the key that opens "
		"it, in a vault of the members.\nSo that copy is not forward secret. kluis lets "
		"an admin of the conversation switch; another program of any\nmember can: the "
		"others are told when they read next.",
		chat_history_options, 1, 1, app_chat_history},
	{"chat follow", "CHAT", "Print what comes as JSON, a line each, until it is ended",
		"As 'read' for scripts. A line that was printed when the program was killed may "
		"come "
		"again: 'seq' tells.\nOne of kind 'history', without it, says that somebody "
		"switched "
		"the history.",
		chat_follow_options, 1, 1, app_chat_follow},
	{"push services", NULL, "Show by which push services devices can be notified", NULL, NULL,
		0, 0, app_push_services},
	{"push add", "web|fcm|apns ENDPOINT|TOKEN", "Have this device notified of messages",
		"By a browser's push service (its endpoint's URL, --p256dh and --auth), Firebase "
		"or "
		"Apple. What a notification says only\nthis device can open; that it is notified, "
		"and "
		"when, the service sees.",
		push_add_options, 2, 2, app_push_add},
	{"push list", NULL, "List where the account's devices are notified", NULL, NULL, 0, 0,
		app_push_list},
	{"push remove", "ID", "Have a device notified there no longer", NULL, NULL, 1, 1,
		app_push_remove},
	{"push open", "FILE", "Open a notification that came to this device",
		"FILE (- for stdin) is what a push service brought, without the wrapping of that "
		"service. It names a conversation and a\nmessage; who made it is not proven: "
		"'kluis "
		"chat read' shows what there is.",
		NULL, 1, 1, app_push_open},
	{"share", "VAULT:/PATH", "Share one file alone, as it is now",
		"USER sees it in 'kluis shared list' and fetches it with 'kluis shared get'; "
		"nothing "
		"else of the vault is hers, and no\nlater version of the file. That she is given "
		"something, and who is in the vault (by their ids), she learns, too.\nOnly an "
		"admin "
		"of the vault shares of it. A note or login stands in a page with others: --page, "
		"with VAULT alone,\nshares all that is in one.",
		share_options, 1, 1, app_share},
	{"unshare", "SHARE", "Share a file no longer, or remove what one was given",
		"SHARE is the beginning of an id of 'kluis shared list'. By who gave it: from then "
		"on the cluster shows its pages to\nthat user no more; what was fetched before "
		"she may have kept.",
		NULL, 1, 1, app_unshare},
	{"shared list", NULL, "List files shared alone, with you and by you",
		"One that does not hold, or cannot be read, is shown with its problem beside the "
		"others (exit 14).",
		NULL, 0, 0, app_shared_list},
	{"shared get", "SHARE [FILE]", "Fetch a file that somebody shared with you",
		"Each page is checked to be the one that an admin of its vault gave, and whole "
		"(exit 14). FILE: "
		"- for stdout; without it the\nfile's own name, here. Of a page its items are "
		"listed.",
		NULL, 1, 2, app_shared_get},
	{"inbox list", NULL, "List what others have left for you", NULL, NULL, 0, 0,
		app_inbox_list},
	{"inbox read", "DOCUMENT", "Show a document",
		"As it came; with -o json beside what it says of itself. Who left it is not "
		"authenticated, unless the\ncluster names a user, and then by its word alone.",
		NULL, 1, 1, app_inbox_read},
	{"inbox take", "DOCUMENT VAULT:/PATH", "Move a document into a vault",
		"It leaves the inbox with the commit that stores it as a file, so that it is in "
		"one "
		"of the two at any time.",
		NULL, 2, 2, app_inbox_take},
	{"inbox delete", "DOCUMENT...", "Delete documents", NULL, inbox_delete_options, 1, 1000,
		app_inbox_delete},
	{"inbox leave", "USER [FILE]", "Leave something for somebody",
		"Sealed, so that only USER can open it. Without FILE it comes from stdin.", NULL, 1,
		2, app_inbox_leave},
	{"inbox token create", "FILE", "Let an app or a mail gateway leave documents for you",
		"FILE is what it needs, for 'kluis inbox deliver': the sites, their CA, who you "
		"are, "
		"and a token. It can leave\ndocuments and do nothing else; nobody can read with "
		"it.",
		inbox_token_options, 1, 1, app_inbox_token_create},
	{"inbox token list", NULL, "List who may leave documents for you", NULL, NULL, 0, 0,
		app_inbox_token_list},
	{"inbox token end", "TOKEN", "Let somebody leave documents for you no longer", NULL, NULL,
		1, 1, app_inbox_token_end},
	{"inbox deliver", "FILE", "Leave what comes on stdin, by a file of 'inbox token create'",
		"For a pipe of Postfix and for apps; it needs no profile. Ends with a code of "
		"sysexits.h: 75 when it may succeed\nlater (no site is reached, the inbox is "
		"full, FILE cannot be read), 65 too large, 77 the token has ended, 78 FILE\nis no "
		"such file. The same bytes again are the same document.",
		inbox_deliver_options, 1, 1, app_inbox_deliver},
	{"follow", NULL, "Print what happens to all that is yours as JSON, a line each",
		"For scripts: vaults, who is in what, messages, receipts, the inbox, keys, "
		"devices, invitations. A line says what has\nchanged (\"type\", \"object\", and "
		"\"name\" where this device has one), at least once, and not how: look there. "
		"It begins\nwith \"resync\" without --since, and whenever more has happened "
		"than can be told: then look everywhere. That something\nhas changed is the "
		"cluster's word. A line of type \"invitation\" is this device's own: it has "
		"verified that, or says\nunder \"problem\" what does not hold. A type that this "
		"version does not know is \"other\", with what was told under\n\"told\". When "
		"its site dies it goes on at another one, and ends with 0 by SIGINT, SIGTERM, "
		"or when nobody reads it\nany more.",
		follow_options, 0, 0, app_follow},
	{"sync", "[VAULT...]", "Bring the local cache up to date",
		"Then notes, logins, names and folders can be read without the cluster, with "
		"--files also files. The cache\nholds ciphertext only. Without a VAULT: all of "
		"them.",
		sync_options, 0, 1000, app_sync},
	{"history", "VAULT:/PATH", "List earlier versions of an item",
		"The cluster keeps the last ten versions of a page, which holds many items, for 30 "
		"days. What is listed was\nwritten by a device of the vault; that nothing was left "
		"out the cluster cannot prove.",
		history_options, 1, 1, app_history},
	{"restore", "VAULT:/PATH VERSION", "Make an item what it was, as a new version",
		"VERSION as 'kluis history' lists it. What was removed comes back; what is there "
		"now stays in the history,\nand keeps its name and folder.",
		NULL, 2, 2, app_restore},
	{"export", "VAULT[:/PATH] FOLDER", "Write all out, decrypted",
		"FOLDER is made (0700, files 0600) and must not be there; - is a tar archive on "
		"stdout. Notes and logins\nbecome JSON files with all that is in them, passwords, "
		"too.",
		NULL, 2, 2, app_export},
	{"verify", "VAULT...", "Check every page and every file of vaults",
		"Fetches everything, checks it against the signed head and this profile's pin, and "
		"opens it.",
		NULL, 1, 1000, app_verify},
	{"agent status", NULL, "Show whether the agent holds keys, whose, and for how long",
		"The state is none (no agent runs), locked or unlocked.", NULL, 0, 0,
		app_agent_status},
	{"agent lock", NULL, "Have the agent forget all keys", NULL, NULL, 0, 0, app_agent_lock},
	{"agent stop", NULL, "Have the agent forget all keys and end", NULL, NULL, 0, 0,
		app_agent_stop},
	{"agent", NULL, "Start the agent, which holds a person's keys in memory",
		"'kluis login' does this by itself. The agent is a process of its own, one for "
		"each "
		"profile, behind a\nsocket that only you can reach. It writes nothing to the disk, "
		"locks when it is not used for a while,\nand ends when it is not used for as long "
		"again.",
		agent_options, 0, 0, app_agent},
	{"version", NULL, "Show the version", NULL, NULL, 0, 0, command_run_version},
	{"completion", "SHELL", "Print a completion script (bash)", NULL, NULL, 1, 1,
		command_run_completion},
	{"help", "[COMMAND]", "Show help", NULL, help_options, 0, 2, command_run_help},
	{NULL, NULL, NULL, NULL, NULL, 0, 0, NULL},
};

static const struct command_option app_options[] = {
	{"profile", 'p', "DIR", "Profile directory (default: KLUIS_PROFILE, else in your home)"},
	{"endpoint", 'e', "URL", "Ask this site first"},
	{"timeout", 0, "SECONDS", "Give up on an unreachable cluster after this long (20)"},
	{"offline", 0, NULL,
		"Read from the local cache, as of the last sync, and ask no site (done by itself, "
		"and said, when none answers; JSON then has \"offline_since\")"},
	{"online", 0, NULL, "Fail instead, when none answers (verify and sync always do)"},
	{"copy", 0, "DIR",
		"Read from the copy of the vault that an operator took out of a snapshot "
		"('kluisctl restore vault')"},
	{"accept-restore", 0, NULL,
		"Follow a cluster restore that the pinned operator key signed, without asking"},
	{NULL, 0, NULL, NULL},
};

const struct program kluis_program = {.name = "kluis",
	.summary = "Keep files, notes and logins in vaults that only their owners can read",
	.commands = app_commands,
	.options = app_options};
