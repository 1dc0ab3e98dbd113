/**
 * One write, whole or not at all: compare, write the flag, its index, the revision, the audit entry and the record of
 * the request, and tell everybody. Redis runs a script alone, so nothing comes between.
 *
 * KEYS: flag, all, deletions, head, audit, audit of this flag, idempotency, usage, outcomes,
 * recent outcomes, users of each kept day.
 * ARGV: revision expected (0: none), name, document ('' deletes), audit entry, idempotency record ('' for none),
 *       its seconds, an incarnation for an empty store, deletions kept, audit entries kept, channel.
 * Answers {'written', revision}, {'conflict'} or {'repeated', record}.
 */
export const WRITE_SCRIPT = `
local expected, name, document, audit, record = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
if record ~= '' then
  local known = redis.call('GET', KEYS[7])
  if known then return {'repeated', known} end
end
local held = redis.call('HGET', KEYS[1], 'revision') or '0'
if held ~= expected then return {'conflict'} end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local last = tonumber(redis.call('HGET', KEYS[4], 'revision') or '0')
local revision = string.format('%.0f', math.max(last + 1, now))
redis.call('HSETNX', KEYS[4], 'incarnation', ARGV[7])
redis.call('HSET', KEYS[4], 'revision', revision)
if document == '' then
  redis.call('DEL', KEYS[1])
  redis.call('ZREM', KEYS[2], name)
  redis.call('ZADD', KEYS[3], revision, name)
  for i = 8, #KEYS do redis.call('UNLINK', KEYS[i]) end
  local over = redis.call('ZCARD', KEYS[3]) - tonumber(ARGV[8])
  if over > 0 then
    local oldest = redis.call('ZPOPMIN', KEYS[3], over)
    redis.call('HSET', KEYS[4], 'forgotten', oldest[#oldest])
  end
else
  redis.call('HSET', KEYS[1], 'revision', revision, 'document', document)
  redis.call('ZADD', KEYS[2], revision, name)
  redis.call('ZREM', KEYS[3], name)
end
redis.call('XADD', KEYS[5], 'MAXLEN', '~', ARGV[9], '*', 'revision', revision, 'entry', audit)
redis.call('XADD', KEYS[6], 'MAXLEN', '~', ARGV[9], '*', 'revision', revision, 'entry', audit)
if record ~= '' then redis.call('SET', KEYS[7], revision .. ' ' .. record, 'EX', ARGV[6]) end
redis.call('PUBLISH', ARGV[10], revision)
return {'written', revision}
`;

/**
 * Remembers a request that changes nothing, as long as the flag is what it was asked for.
 *
 * KEYS: flag, idempotency. ARGV: revision expected, idempotency record, its seconds. Answers as a write does.
 */
export const REMEMBER_SCRIPT = `
local known = redis.call('GET', KEYS[2])
if known then return {'repeated', known} end
if redis.call('HGET', KEYS[1], 'revision') ~= ARGV[1] then return {'conflict'} end
redis.call('SET', KEYS[2], ARGV[1] .. ' ' .. ARGV[2], 'EX', ARGV[3])
return {'written', ARGV[1]}
`;

/** Whether the flag is there, and has this text in its document, as another one of the name has not ('' asks for none). */
const IS_THERE = `
local function isThere(key, creation)
  if creation == '' then return redis.call('EXISTS', key) == 1 end
  local document = redis.call('HGET', key, 'document')
  return document and string.find(document, creation, 1, true)
end
`;

/**
 * Adds checks of one flag on one day, once, unless the flag is gone or was made anew.
 *
 * KEYS: flag, usage, users of the day, last delta of the source. ARGV: day, enabled, disabled, time of the last, seconds to
 * keep, the day up to which is forgotten, the delta's number ('' for none), seconds to remember it, what its document has of
 * its creation ('' for any), then users.
 */
export const USAGE_SCRIPT = `${IS_THERE}
local number = ARGV[7]
if not isThere(KEYS[1], ARGV[9]) then return 0 end
if number ~= '' and tonumber(redis.call('GET', KEYS[4]) or '0') >= tonumber(number) then return 0 end
redis.call('HINCRBY', KEYS[2], ARGV[1] .. ':enabled', ARGV[2])
redis.call('HINCRBY', KEYS[2], ARGV[1] .. ':disabled', ARGV[3])
redis.call('HSET', KEYS[2], 'last_at', ARGV[4])
for _, field in ipairs(redis.call('HKEYS', KEYS[2])) do
  local day = string.match(field, '^(%d+):')
  if day and day <= ARGV[6] then redis.call('HDEL', KEYS[2], field) end
end
redis.call('EXPIRE', KEYS[2], ARGV[5])
for first = 10, #ARGV, 1000 do
  redis.call('PFADD', KEYS[3], unpack(ARGV, first, math.min(first + 999, #ARGV)))
end
if #ARGV >= 10 then redis.call('EXPIRE', KEYS[3], ARGV[5]) end
if number ~= '' then redis.call('SET', KEYS[4], number, 'EX', ARGV[8]) end
return 1
`;

/**
 * Adds outcomes of one flag in one environment, once, unless the flag is gone or was made anew.
 *
 * KEYS: flag, outcomes, recent outcomes, idempotency, last delta of the source. ARGV: environment, an identity for counters
 * that begin, the time, seconds to keep, milliseconds that the recent ones are kept, the counts as they are, idempotency
 * record ('' for none), its seconds and those of the delta, the delta's number ('' for none), what its document has of its
 * creation ('' for any), then fields and what is added to each. Answers {'added'}, also of a delta that was, {'unknown'} or
 * {'repeated', record}.
 */
export const OUTCOMES_SCRIPT = `${IS_THERE}
local environment, record, number = ARGV[1], ARGV[7], ARGV[9]
if record ~= '' then
  local known = redis.call('GET', KEYS[4])
  if known then return {'repeated', known} end
end
if not isThere(KEYS[1], ARGV[10]) then return {'unknown'} end
if number ~= '' and tonumber(redis.call('GET', KEYS[5]) or '0') >= tonumber(number) then return {'added'} end
redis.call('HSETNX', KEYS[2], environment .. ':counters', ARGV[2])
redis.call('HSETNX', KEYS[2], environment .. ':since', ARGV[3])
for i = 11, #ARGV, 2 do redis.call('HINCRBY', KEYS[2], environment .. ':' .. ARGV[i], ARGV[i + 1]) end
redis.call('EXPIRE', KEYS[2], ARGV[4])
local time = redis.call('TIME')
local first = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000) - tonumber(ARGV[5]))
redis.call('XADD', KEYS[3], 'MINID', first, '*', 'environment', environment, 'counts', ARGV[6])
redis.call('PEXPIRE', KEYS[3], ARGV[5])
if record ~= '' then redis.call('SET', KEYS[4], '0 ' .. record, 'EX', ARGV[8]) end
if number ~= '' then redis.call('SET', KEYS[5], number, 'EX', ARGV[8]) end
return {'added'}
`;
