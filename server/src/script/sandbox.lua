-- What stands between scripts and Lua's own library. Run once for each interpreter, with the
-- functions of Rust's side and the table of real globals; returns what Rust calls.
--
-- Scripts see proxies of the shared tables: reading falls through, writing is refused. They see of
-- an error what Valkey's own functions would raise (`visible`), and cannot catch the one that ends
-- a script from outside.
local native, real, functions = ...

local error, type, select, rawset, rawget = error, type, select, rawset, rawget
local setmetatable, getmetatable, tostring, pairs = setmetatable, getmetatable, tostring, pairs
local tonumber = tonumber
local raw_pcall, raw_xpcall, raw_loadstring, unpack = pcall, xpcall, loadstring, unpack
local match = string.match
local visible, final, where, too_complex =
    native.visible, native.final, native.where, native.too_complex
local READONLY = "Attempt to modify a readonly table"

-- Proxies, with the tables that they stand for and the metatables that scripts see.
local hidden, shown = {}, {}

local function deny() error(READONLY, 2) end

local function proxy_of(table, meta)
    local proxy = {}
    hidden[proxy] = table
    return setmetatable(proxy, meta or { __index = table, __newindex = deny })
end

local function protect(table)
    for key, value in pairs(table) do
        if type(value) == "table" and not hidden[value] then
            rawset(table, key, protect(value))
        end
    end
    return proxy_of(table)
end

local function missing(...)
    if select("#", ...) ~= 2 then
        error("Wrong number of arguments to luaProtectedTableError", 2)
    end
    local _, name = ...
    if type(name) ~= "string" and type(name) ~= "number" then
        error("Second argument to luaProtectedTableError must be a string or number", 2)
    end
    error("Script attempted to access nonexistent global variable '" .. name .. "'", 2)
end

-- Catching.
--
-- Lua's pcall and xpcall push one more value behind the results without asking for room, which its
-- API forbids. They have room for 20, so that they are only given functions with fewer results:
-- `few` puts more of them into a table, and `results` takes them out of it.

local MANY, FEW = {}, 16

local function few(...)
    local count = select("#", ...)
    if count <= FEW then return ... end
    return MANY, { n = count, ... }
end

local function gathered(f, ...) return few(f(...)) end

local function results(...)
    local mark, many = ...
    if mark ~= MANY then return ... end
    return unpack(many, 1, many.n)
end

-- What cannot be called is left to Lua, which says so without the name of a variable of ours.
local function callable(value)
    return type(value) == "function" or type(value) == "table" and getmetatable(value)
end

-- Positions in this file are nothing to scripts: `error(text, 2)` may find one below them.
local function placeless(raised)
    return type(raised) == "string" and match(raised, "^sandbox:%d+: (.*)$") or raised
end

local function caught(ok, ...)
    if ok then return true, results(...) end
    local raised = visible(placeless((...)))
    if type(raised) == "table" then
        local text = raised.err
        if type(text) == "string" or type(text) == "number" then raised = text end
    end
    return false, raised
end

local function caught_as_is(ok, ...)
    if ok then return true, results(...) end
    return false, visible((...))
end

function real.pcall(...)
    if callable((...)) then return caught(raw_pcall(gathered, ...)) end
    return caught(raw_pcall(...))
end

function real.xpcall(f, handler)
    local function handle(raised) return handler(visible(placeless(raised))) end
    local call = callable(f) and function() return few(f()) end or f
    return caught_as_is(raw_xpcall(call, handle))
end

local raw_resume = coroutine.resume
function real.coroutine.resume(...) return caught_as_is(raw_resume(...)) end

-- Compiling. Only text is compiled, and the chunk's name is a string that this frame holds, since
-- the parser holds it by nothing (CVE-2025-49844).

local byte, concat = string.byte, table.concat

local function compile(text, name)
    if byte(text, 1) == 27 then text = " " .. text end
    name = match(name, "^[^%z]*")
    return raw_loadstring(text, name)
end

function real.loadstring(text, name)
    if type(text) == "number" then text = tostring(text) end
    if type(text) ~= "string" then
        error("bad argument #1 to 'loadstring' (string expected, got " .. type(text) .. ")", 2)
    end
    return compile(text, name == nil and text or tostring(name))
end

function real.load(reader, name)
    if type(reader) ~= "function" then
        error("bad argument #1 to 'load' (function expected, got " .. type(reader) .. ")", 2)
    end
    local pieces = {}
    local ok, raised = raw_pcall(function()
        while true do
            local piece = reader()
            if piece == nil or piece == "" then return end
            if type(piece) ~= "string" then error("reader function must return a string", 0) end
            pieces[#pieces + 1] = piece
        end
    end)
    if not ok then return nil, visible(raised) end
    return compile(concat(pieces), name == nil and "=(load)" or tostring(name))
end

-- Tables that are shared may not be written around their proxies.

local function guard(name, of, index)
    local raw = of[name]
    of[name] = function(table, ...)
        if hidden[table] then error(READONLY, 0) end
        return raw(table, ...)
    end
end

guard("rawset", real)
guard("setmetatable", real)
for _, name in pairs({ "insert", "remove", "sort" }) do guard(name, real.table) end

function real.rawget(table, key) return rawget(hidden[table] or table, key) end

local raw_next, raw_pairs = next, pairs
function real.next(table, key) return raw_next(hidden[table] or table, key) end
function real.pairs(table)
    local within = hidden[table]
    if not within then return raw_pairs(table) end
    return function(_, key) return raw_next(within, key) end, table, nil
end

-- Patterns match by recursion in C, once for each repetition or capture.

for _, name in pairs({ "find", "match", "gmatch", "gsub" }) do
    local find = real.string[name]
    real.string[name] = function(text, pattern, ...)
        if type(pattern) == "string" and #pattern > 256 and too_complex(pattern) then
            error("pattern too complex", 2)
        end
        return find(text, pattern, ...)
    end
end

-- Lua's own `unpack` computes the count in an `int`, which a compiler may assume not to wrap
-- (CVE-2025-46817).

local RESULTS = 8000

function real.unpack(...)
    local list, first, last = ...
    if type(list) ~= "table" then
        local got = select("#", ...) == 0 and "no value" or type(list)
        error("bad argument #1 to 'unpack' (table expected, got " .. got .. ")", 2)
    end
    local from, to = tonumber(first or 1), tonumber(last or #list)
    if from and to then
        -- What is cast to an `int` turns around: only a short way from one to the other stays one.
        if to < from then return end
        if not (to - from < RESULTS) then error("too many results to unpack", 2) end
    end
    -- Its arguments take room from its results.
    if first == nil and last == nil then return unpack(list) end
    return unpack(list, first, last)
end

-- The shape of the globals.

for _, name in pairs({ "dofile", "loadfile", "print", "module", "require", "package", "io" }) do
    real[name] = nil
end
if not native.insecure then
    real.newproxy, real.setfenv, real.getfenv = nil, nil, nil
end
real.os = { clock = real.os.clock }
real.debug = nil

local string_meta = getmetatable("")
string_meta.__index = real.string

function real.getmetatable(value)
    if hidden[value] then return shown[value] end
    if type(value) == "string" then return shown[""] end
    return getmetatable(value)
end

local handler = function(raised)
    raised = final(placeless(raised))
    if type(raised) ~= "table" then raised = { err = "ERR " .. tostring(raised) } end
    local source, line = where()
    if source then raised.source, raised.line = source, line end
    return raised
end
if not functions then
    real.__redis__err__handler, real.__server__err__handler = handler, handler
end

local globals_meta = { __newindex = deny, __index = real }
local env = proxy_of(real, globals_meta)
shown[env] = proxy_of({ __index = missing })
real._G = nil
for key, value in pairs(real) do
    if type(value) == "table" then real[key] = protect(value) end
end
real._G = env
real.redis = real.server
shown[""] = proxy_of({ __index = real.string })
setmetatable(real, { __index = missing })

-- While a library is loaded it sees only these.
local loading = nil
if functions then
    local api = setmetatable(native.library_api, { __index = missing })
    loading = proxy_of(api)
    loading = setmetatable({ redis = loading, server = loading }, { __index = missing })
end

return env, {
    handler = handler,
    load_library = function(f)
        globals_meta.__index = loading
        local ok, raised = raw_pcall(function() return (f()) end)
        globals_meta.__index = real
        if not ok then raised = final(placeless(raised)) end
        return ok, raised
    end,
}
