-- What is known of recipients. Profiles are read without a lock: one that changes while a claim is
-- decided counts from the next claim on.

-- Why nothing of its category is to go to its address; null: it may.
CREATE OR REPLACE FUNCTION ledger.unwanted(r jsonb) RETURNS text LANGUAGE plpgsql STABLE AS $$
DECLARE
    required boolean := (r ->> 'required')::boolean;
    own_category text := r ->> 'category';
    own_channel text := r ->> 'channel';
    told text;
BEGIN
    IF r ->> 'address_digest' = '' THEN
        RETURN NULL;
    END IF;
    SELECT s.kind INTO told FROM ledger.suppressions s
    WHERE s.address_digest = r ->> 'address_digest' AND s.lifted_at IS NULL
      AND (s.category = '*' OR s.category = own_category AND NOT required)
    ORDER BY s.category <> '*' LIMIT 1;
    IF told IS NOT NULL THEN
        RETURN 'their ' || own_channel || ' address is suppressed: ' || told;
    END IF;
    IF NOT required AND (
        SELECT coalesce(p #> ARRAY[own_category, own_channel], p #> ARRAY[own_category, '*'],
                        p #> ARRAY['*', own_channel], p #> '{*,*}')
        FROM (SELECT t.profile -> 'preferences' FROM ledger.recipients t
              WHERE t.tenant = r ->> 'tenant' AND t.usr = r ->> 'user') x (p)) = 'false'
    THEN
        RETURN 'they want no ' || own_category || ' by ' || own_channel;
    END IF;
    RETURN NULL;
END $$;

-- What receipts say of the addresses of their attempts. A hard bounce counts for all categories, and
-- so does STOP in answer to a text. What was lifted comes back by what was claimed since.
CREATE OR REPLACE FUNCTION ledger.suppress(receipts jsonb, now timestamptz) RETURNS void
LANGUAGE sql AS $$
    INSERT INTO ledger.suppressions AS t
        (address_digest, category, kind, notification_id, attempt, claimed_at, since)
    SELECT DISTINCT ON (1, 2) a.address_digest,
        CASE WHEN e ->> 'kind' = 'bounced_hard'
               OR e ->> 'kind' = 'unsubscribed' AND a.channel = 'sms'
             THEN '*' ELSE a.category END,
        e ->> 'kind', a.id, a.attempt, a.claimed_at, now
    FROM jsonb_array_elements(receipts) WITH ORDINALITY x (e, place)
    JOIN ledger.attempts a ON a.id = (e ->> 'id')::uuid
        AND a.attempt = (e ->> 'attempt')::bigint AND a.account = e ->> 'account'
    WHERE e ->> 'kind' IN ('bounced_hard', 'complained', 'unsubscribed') AND a.address_digest <> ''
    ORDER BY 1, 2, place
    ON CONFLICT (address_digest, category) DO UPDATE
    SET kind = excluded.kind, notification_id = excluded.notification_id,
        attempt = excluded.attempt, claimed_at = excluded.claimed_at, since = excluded.since,
        lifted_at = NULL
    WHERE t.lifted_at < excluded.claimed_at;
$$;

-- profiles_of: [[tenant, user]]; [tenant, user, profile] of each that there is.
CREATE OR REPLACE FUNCTION ledger.profiles_of(whos jsonb) RETURNS SETOF jsonb LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_array(t.tenant, t.usr, t.profile)
    FROM (SELECT DISTINCT w ->> 0 AS tenant, w ->> 1 AS usr FROM jsonb_array_elements(whos) w) asked
    JOIN ledger.recipients t USING (tenant, usr) ORDER BY 1;
$$;

-- suppressed: of these digests; [digest, category, kind], those of all categories first.
CREATE OR REPLACE FUNCTION ledger.suppressed(digests jsonb) RETURNS SETOF jsonb
LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_array(s.address_digest, s.category, s.kind) FROM ledger.suppressions s
    WHERE s.address_digest IN (SELECT jsonb_array_elements_text(digests)) AND s.lifted_at IS NULL
    ORDER BY s.address_digest, s.category <> '*', s.category;
$$;

-- lift: what is sent from now on may go to this address again; how many entries that were.
CREATE OR REPLACE FUNCTION ledger.lift(digest text) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    lifted integer;
BEGIN
    UPDATE ledger.suppressions SET lifted_at = ledger.now()
    WHERE address_digest = digest AND lifted_at IS NULL;
    GET DIAGNOSTICS lifted = ROW_COUNT;
    RETURN lifted;
END $$;

-- fold_profiles: [{tenant, user, profile, topic_id, offset}], one for each recipient, a profile of
-- null for one that is gone; and [[topic_id, partition, next]], up to where that is all there is.
CREATE OR REPLACE FUNCTION ledger.fold_profiles(changes jsonb, offsets jsonb) RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO ledger.recipients AS t (tenant, usr, profile, topic_id, "offset")
    SELECT c ->> 'tenant', c ->> 'user', c -> 'profile', c ->> 'topic_id', (c ->> 'offset')::bigint
    FROM jsonb_array_elements(changes) c WHERE c -> 'profile' <> 'null'
    ORDER BY 1, 2
    ON CONFLICT (tenant, usr) DO UPDATE
    SET profile = excluded.profile, topic_id = excluded.topic_id, "offset" = excluded."offset"
    WHERE t.topic_id <> excluded.topic_id OR t."offset" < excluded."offset";
    DELETE FROM ledger.recipients t USING jsonb_array_elements(changes) c
    WHERE c -> 'profile' = 'null' AND t.tenant = c ->> 'tenant' AND t.usr = c ->> 'user'
      AND (t.topic_id <> c ->> 'topic_id' OR t."offset" < (c ->> 'offset')::bigint);
    PERFORM ledger.move_profile_offsets(offsets);
    RETURN true;
END $$;

CREATE OR REPLACE FUNCTION ledger.move_profile_offsets(offsets jsonb) RETURNS void LANGUAGE sql AS $$
    INSERT INTO ledger.recipient_offsets AS t (topic_id, partition, next)
    SELECT o ->> 0, (o ->> 1)::integer, (o ->> 2)::bigint FROM jsonb_array_elements(offsets) o
    ORDER BY 1, 2
    ON CONFLICT (topic_id, partition) DO UPDATE SET next = greatest(t.next, excluded.next);
$$;

-- profile_offsets: [partition, next] of a topic.
CREATE OR REPLACE FUNCTION ledger.profile_offsets(p_topic_id text) RETURNS SETOF jsonb
LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_array(o.partition, o.next) FROM ledger.recipient_offsets o
    WHERE o.topic_id = p_topic_id;
$$;
