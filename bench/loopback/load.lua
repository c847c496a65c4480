-- What wrk sends and how it reports. Arguments: method, file with the body ("" for none), file with the expected
-- answer ("" when bytes are checked by their number instead: reading every answer in Lua costs as much as sending it).
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
