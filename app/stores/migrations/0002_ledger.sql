-- What each key spent on a UTC day, such as 2026-11-22, by account and model. The primary key is the index by day and
-- key; the second one is for reports of one key over many days.
CREATE TABLE neuron_ledger (
    day TEXT NOT NULL,
    key TEXT NOT NULL,
    account TEXT NOT NULL,
    model TEXT NOT NULL,
    calls INTEGER NOT NULL,
    neurons REAL NOT NULL,
    estimated_neurons REAL NOT NULL,
    prompt_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    cached_tokens INTEGER NOT NULL,
    audio_seconds REAL NOT NULL,
    PRIMARY KEY (day, key, account, model)
) WITHOUT ROWID;
CREATE INDEX neuron_ledger_by_key ON neuron_ledger (key, day);
