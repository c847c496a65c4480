-- What wrk sends and how it reports. Arguments: method, file with the body ("" for none), file with the expected
-- answer ("" when bytes are checked by their number instead: reading every answer in Lua costs as much as sending it),
-- number of users who ask in turn ("0": nobody in particular; else requests carry what flags and splits decide by).
local threads = {}

function setup(thread)
  table.insert(threads, thread)
end

local function contents(name)
  local file = assert(io.open(name, "rb"))
  local text = file:read("*a")
  file:close()
  return text
end

-- The requests of all users, made beforehand: making one costs more than sending it.
local function of_users(users)
  local requests = {}
  for user = 1, users do
    wrk.headers["x-user-id"] = "user-" .. user
    wrk.headers["x-region"] = user % 4 == 0 and "eu-west-1" or "us-east-1"
    wrk.headers["x-risk"] = user % 2 == 0 and "low" or "high"
    requests[user] = wrk.format()
  end
  return requests
end

function init(args)
  wrong = 0
  wrk.method = args[1]
  if args[2] ~= "" then
    wrk.body = contents(args[2])
    wrk.headers["content-type"] = "application/json"
  end
  if args[3] ~= "" then
    expected = contents(args[3])
    response = function(status, headers, body)
      if body ~= expected then
        wrong = wrong + 1
      end
    end
  end
  local users = tonumber(args[4])
  if users > 0 then
    local requests, turn = of_users(users), 0
    request = function()
      turn = turn % users + 1
      return requests[turn]
    end
  end
end

function done(summary, latency, requests)
  local wrong = 0
  for _, thread in ipairs(threads) do
    wrong = wrong + (thread:get("wrong") or 0)
  end
  local errors = summary.errors
  io.write(string.format(
    '\n{"requests": %d, "bytes": %d, "duration_us": %d, "wrong": %d, "status": %d, "connect": %d, "read": %d, "write": %d, "timeout": %d}\n',
    summary.requests, summary.bytes, summary.duration, wrong,
    errors.status, errors.connect, errors.read, errors.write, errors.timeout))
end
