-- Answers of the Responses API, for whoever goes on from them. `previous` is the id of the one before it; `input` and
-- `body` are JSON, packed by zlib; `expires` is in Unix seconds. `size` is the space it takes, about.
CREATE TABLE responses (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    owner TEXT NOT NULL,
    previous TEXT,
    input BLOB NOT NULL,
    body BLOB NOT NULL,
    expires INTEGER NOT NULL,
    size INTEGER GENERATED ALWAYS AS (length(owner) + length(input) + length(body) + 200) VIRTUAL
);
CREATE INDEX responses_by_expiry ON responses (expires);

-- How much space they take together: to sum it up would be to read everything.
CREATE TABLE response_space (bytes INTEGER NOT NULL);
INSERT INTO response_space VALUES (0);

CREATE TRIGGER response_added AFTER INSERT ON responses BEGIN
    UPDATE response_space SET bytes = bytes + new.size;
END;
CREATE TRIGGER response_removed AFTER DELETE ON responses BEGIN
    UPDATE response_space SET bytes = bytes - old.size;
END;
