-- For wrk: each answer is compared octet by octet; a few hundred requests a second, so that a machine of two cores has room.
local want = "the target answers\n"
local threads = {}

function setup(thread)
  table.insert(threads, thread)
end

function init()
  altered = 0
end

function delay()
  return 10
end

function response(status, headers, body)
  if status ~= 200 or body ~= want then
    altered = altered + 1
  end
end

function done(summary)
  local bad = 0
  for _, thread in ipairs(threads) do
    bad = bad + thread:get("altered")
  end
  local e = summary.errors
  print(string.format("watched %d failed %d altered %d", summary.requests, e.connect + e.read + e.write + e.timeout, bad))
end
