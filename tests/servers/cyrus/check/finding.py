"""What the checker can say, and each of its words."""
from dataclasses import dataclass

KINDS = {
    "unreadable": "a file ends early or is not in its own format",
    "index-crc": "cyrus.index: the header's CRC is wrong",
    "index-size": "cyrus.index: its length is not that of the records that its header counts",
    "record-crc": "cyrus.index: a record's CRC is wrong",
    "record-order": "cyrus.index: UIDs do not rise, or lie above the header's last UID",
    "index-counts": "cyrus.index: a count in the header is not that of the records",
    "index-synccrc": "cyrus.index: the header's sum over all records' states is wrong",
    "index-modseq": "cyrus.index: a record is newer than the header",
    "header-crc": "cyrus.header is not the one that cyrus.index was written for",
    "header-name": "cyrus.header names another mailbox than mailboxes.db",
    "cache": "a record's range in cyrus.cache is outside it, or its CRC is wrong",
    "message-missing": "a record's message file is not there",
    "message-content": "a message file has another size or content than its record says",
    "message-orphan": "a message file that no record names",
    "quota": "a quota file is not the sum over its mailboxes",
    "folder-missing": "mailboxes.db lists a mailbox whose folder or index is not there",
    "folder-orphan": "a mailbox folder that mailboxes.db does not list",
    "folder-list": "mailboxes.db contradicts itself (by name against by id) or an index",
    "conversation-guid": "conversations.db and an index disagree about one message",
    "conversation-counts": "conversations.db: counts of a conversation are not those of the messages",
    "conversation-folder": "conversations.db: a folder's counts are not those of the messages",
    "conversation-quota": "conversations.db: its sum of messages or bytes is wrong",
    "counters": "counters.db is behind an index, or its CRC is wrong",
    "database-crc": "a twoskip database: a CRC is wrong or a pointer leads nowhere",
    "database-dirty": "a twoskip database in the middle of a transaction",
    "database-count": "a twoskip database: its header counts other records than it has",
}


@dataclass(frozen=True)
class Finding:
    kind: str
    where: str
    what: str

    def __post_init__(self):
        assert self.kind in KINDS, self.kind

    def __str__(self):
        return f"{self.kind}: {self.where}: {self.what}"
