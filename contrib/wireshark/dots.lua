-- DOTS signal channel bodies (application/dots+cbor) in Wireshark and tshark: RFC 9132 table 5, RFC 9066 table 1,
-- RFC 9133. Wireshark's own CoAP dissector reads the message around them, and calls this for content format 271.
--
-- tshark -X lua_script:contrib/wireshark/dots.lua -r FILE -Y dots -V -O dots
--
-- SPDX-License-Identifier: MIT OR Apache-2.0

local dots = Proto("dots", "DDoS Open Threat Signaling")

-- Levels of maps, arrays and tags, and items in a body: as the Rust reader has them.
local MAX_DEPTH, MAX_ITEMS = 16, 4096

local STATUS = {
    [1] = "attack-mitigation-in-progress",
    [2] = "attack-successfully-mitigated",
    [3] = "attack-stopped",
    [4] = "attack-exceeded-capability",
    [5] = "dots-client-withdrawn-mitigation",
    [6] = "attack-mitigation-terminated",
    [7] = "attack-mitigation-withdrawn",
    [8] = "attack-mitigation-signal-loss",
}
local CONFLICT_STATUS = {
    [1] = "request-inactive-other-active",
    [2] = "request-active",
    [3] = "all-requests-inactive",
}
local CONFLICT_CAUSE = {
    [1] = "overlapping-targets",
    [2] = "conflict-with-acceptlist",
    [3] = "cuid-collision",
    [4] = "request-rejected-legitimate-traffic",
    [5] = "overlapping-pipes",
}
local ATTACK_STATUS = { [1] = "under-attack", [2] = "attack-successfully-mitigated" }
local ACTIVATION_TYPE = { [1] = "activate-when-mitigating", [2] = "immediate", [3] = "deactivate" }

-- Key, name, whether its values are numbers ("n"), texts ("t"), truth values ("b"), decimal fractions ("d"), or maps and
-- arrays of maps ("m"); names of numbers.
local KEYS = {
    { 1, "mitigation-scope", "m" },
    { 2, "scope", "m" },
    { 3, "cdid", "t" },
    { 4, "cuid", "t" },
    { 5, "mid", "n" },
    { 6, "target-prefix", "t" },
    { 7, "target-port-range", "m" },
    { 8, "lower-port", "n" },
    { 9, "upper-port", "n" },
    { 10, "target-protocol", "n" },
    { 11, "target-fqdn", "t" },
    { 12, "target-uri", "t" },
    { 13, "alias-name", "t" },
    { 14, "lifetime", "n" },
    { 15, "mitigation-start", "n" },
    { 16, "status", "n", STATUS },
    { 17, "conflict-information", "m" },
    { 18, "conflict-status", "n", CONFLICT_STATUS },
    { 19, "conflict-cause", "n", CONFLICT_CAUSE },
    { 20, "retry-timer", "n" },
    { 21, "conflict-scope", "m" },
    { 22, "acl-list", "m" },
    { 23, "acl-name", "t" },
    { 24, "acl-type", "t" },
    { 25, "bytes-dropped", "n" },
    { 26, "bps-dropped", "n" },
    { 27, "pkts-dropped", "n" },
    { 28, "pps-dropped", "n" },
    { 29, "attack-status", "n", ATTACK_STATUS },
    { 30, "signal-config", "m" },
    { 31, "sid", "n" },
    { 32, "mitigating-config", "m" },
    { 33, "heartbeat-interval", "m" },
    { 34, "max-value", "n" },
    { 35, "min-value", "n" },
    { 36, "current-value", "n" },
    { 37, "missing-hb-allowed", "m" },
    { 38, "max-retransmit", "m" },
    { 39, "ack-timeout", "m" },
    { 40, "ack-random-factor", "m" },
    { 41, "max-value-decimal", "d" },
    { 42, "min-value-decimal", "d" },
    { 43, "current-value-decimal", "d" },
    { 44, "idle-config", "m" },
    { 45, "trigger-mitigation", "b" },
    { 46, "redirected-signal", "m" },
    { 47, "alt-server", "t" },
    { 48, "alt-server-record", "t" },
    { 49, "heartbeat", "m" },
    { 50, "probing-rate", "m" },
    { 51, "peer-hb-status", "b" },
    { 52, "activation-type", "n", ACTIVATION_TYPE },
    { 53, "ietf-dots-signal-control:acl-list", "m" },
    { 32768, "source-prefix", "t" },
    { 32769, "source-port-range", "m" },
    { 32770, "source-icmp-type-range", "m" },
    { 32771, "lower-type", "n" },
    { 32772, "upper-type", "n" },
    { 32773, "alt-ch-client", "t" },
    { 32774, "alt-ch-client-record", "t" },
    { 32775, "ttl", "n" },
    { 32776, "max-payloads", "m" },
    { 32777, "non-max-retransmit", "m" },
    { 32778, "non-timeout", "m" },
    { 32779, "non-receive-timeout", "m" },
    { 32780, "non-probing-wait", "m" },
    { 32781, "non-partial-timeout", "m" },
}

local rows, fields = {}, {}
for _, row in ipairs(KEYS) do
    local key, name, kind, names = row[1], row[2], row[3], row[4]
    local abbreviation = "dots." .. name:gsub("ietf%-dots%-signal%-control:", "control-"):gsub("-", "_")
    local field
    if kind == "n" then
        -- As texts, because a lifetime may be -1 and counters have 64 bits.
        field = ProtoField.string(abbreviation, name)
    elseif kind == "b" then
        field = ProtoField.bool(abbreviation, name)
    elseif kind == "m" then
        field = ProtoField.none(abbreviation, name)
    else
        field = ProtoField.string(abbreviation, name)
    end
    rows[key] = { name = name, kind = kind, names = names, field = field }
    table.insert(fields, field)
end
local other = ProtoField.string("dots.other", "not interpreted")
table.insert(fields, other)
dots.fields = fields

local malformed = ProtoExpert.new("dots.malformed", "Malformed DOTS body", expert.group.MALFORMED, expert.severity.ERROR)
local unknown = ProtoExpert.new(
    "dots.unknown_key",
    "Unknown key that must be understood",
    expert.group.PROTOCOL,
    expert.severity.WARN
)
dots.experts = { malformed, unknown }

-- RFC 9132 section 10.6.1.1.
local function is_optional(key)
    return (key >= 128 and key <= 255) or (key >= 16384 and key <= 65535)
end

-- What is read: octets, how far, how many items. Errors are thrown as texts.
local Reader = {}
Reader.__index = Reader

function Reader.new(buffer)
    return setmetatable({ buffer = buffer, at = 0, items = 0 }, Reader)
end

function Reader:need(count)
    if self.at + count > self.buffer:len() then
        error("it ends inside an item", 0)
    end
end

-- Type, number, and whether the length is indefinite.
function Reader:head()
    self.items = self.items + 1
    if self.items > MAX_ITEMS then
        error("too many items", 0)
    end
    self:need(1)
    local first = self.buffer(self.at, 1):uint()
    self.at = self.at + 1
    local major, short = math.floor(first / 32), first % 32
    if short < 24 then
        return major, UInt64(short), false
    elseif short == 31 then
        return major, UInt64(0), true
    elseif short > 27 then
        error("a reserved form of length", 0)
    end
    local count = 2 ^ (short - 24)
    self:need(count)
    local number = self.buffer(self.at, count):uint64()
    self.at = self.at + count
    return major, number, false
end

function Reader:is_break()
    self:need(1)
    return self.buffer(self.at, 1):uint() == 0xff
end

-- A length that fits what is there.
function Reader:length(number)
    if number > UInt64(self.buffer:len() - self.at) then
        error("longer than the body", 0)
    end
    return number:tonumber()
end

-- Calls `each` for every element of an array or a map.
function Reader:elements(number, indefinite, each)
    if indefinite then
        while not self:is_break() do
            each()
        end
        self.at = self.at + 1
    else
        for _ = 1, self:length(number) do
            each()
        end
    end
end

function Reader:text(number, indefinite)
    local pieces = {}
    if indefinite then
        while not self:is_break() do
            local major, piece, nested = self:head()
            if major ~= 3 or nested then
                error("a text in pieces that are none", 0)
            end
            table.insert(pieces, self:text(piece, false))
        end
        self.at = self.at + 1
    else
        local length = self:length(number)
        if length > 0 then
            table.insert(pieces, self.buffer(self.at, length):string(ENC_UTF_8))
        end
        self.at = self.at + length
    end
    return table.concat(pieces)
end

-- An item that is not named: as a text, for what is not interpreted.
function Reader:describe(depth)
    if depth > MAX_DEPTH then
        error("nested too deeply", 0)
    end
    local major, number, indefinite = self:head()
    if major == 0 then
        return tostring(number)
    elseif major == 1 then
        return "-1-" .. tostring(number)
    elseif major == 2 then
        local length = self:length(number)
        local octets = length > 0 and self.buffer(self.at, length):bytes():tohex(true) or ""
        self.at = self.at + length
        return "h'" .. octets .. "'"
    elseif major == 3 then
        return '"' .. self:text(number, indefinite) .. '"'
    elseif major == 4 then
        local parts = {}
        self:elements(number, indefinite, function()
            table.insert(parts, self:describe(depth + 1))
        end)
        return "[" .. table.concat(parts, ", ") .. "]"
    elseif major == 5 then
        local parts = {}
        self:elements(number, indefinite, function()
            local key = self:describe(depth + 1)
            table.insert(parts, key .. ": " .. self:describe(depth + 1))
        end)
        return "{" .. table.concat(parts, ", ") .. "}"
    elseif major == 6 then
        return tostring(number) .. "(" .. self:describe(depth + 1) .. ")"
    end
    local simple = number:tonumber()
    return ({ [20] = "false", [21] = "true", [22] = "null" })[simple] or "simple(" .. simple .. ")"
end

local map

-- The value of a known key: into the tree.
local function value(reader, tree, row, depth)
    if depth > MAX_DEPTH then
        error("nested too deeply", 0)
    end
    local start = reader.at
    reader:need(1)
    local first = reader.buffer(start, 1):uint()
    local major = math.floor(first / 32)
    if major == 4 and row.kind ~= "d" then
        local _, number, indefinite = reader:head()
        reader:elements(number, indefinite, function()
            value(reader, tree, row, depth + 1)
        end)
    elseif major == 5 and row.kind == "m" then
        local item = tree:add(row.field, reader.buffer(start, 1))
        item:set_text(row.name)
        map(reader, item, depth + 1)
        item:set_len(reader.at - start)
    elseif (major == 0 or major == 1) and row.kind == "n" then
        local _, number = reader:head()
        local text = major == 0 and tostring(number) or tostring(Int64(-1) - number:tonumber())
        local range = reader.buffer(start, reader.at - start)
        local named = major == 0 and row.names and row.names[number:tonumber()]
        tree:add(row.field, range, text, row.name .. ": " .. (named and named .. " (" .. text .. ")" or text))
    elseif major == 3 and row.kind == "t" then
        local _, number, indefinite = reader:head()
        local text = reader:text(number, indefinite)
        tree:add(row.field, reader.buffer(start, reader.at - start), text)
    elseif (first == 0xf4 or first == 0xf5) and row.kind == "b" then
        reader:head()
        tree:add(row.field, reader.buffer(start, 1), first == 0xf5)
    elseif major == 6 and row.kind == "d" then
        local _, tag = reader:head()
        local list, two = reader:head()
        local sign, exponent = reader:head()
        local positive, mantissa = reader:head()
        if tag ~= UInt64(4) or list ~= 4 or two ~= UInt64(2) or sign > 1 or positive ~= 0 then
            error(row.name .. " is no decimal fraction", 0)
        end
        local power = sign == 1 and -1 - exponent:tonumber() or exponent:tonumber()
        local number = string.format("%.2f", mantissa:tonumber() * 10.0 ^ power)
        tree:add(row.field, reader.buffer(start, reader.at - start), number)
    elseif first == 0xf6 then
        reader:head()
        tree:add(other, reader.buffer(start, 1), row.name .. ": null")
    else
        error(row.name .. " has another type than it must have", 0)
    end
end

map = function(reader, tree, depth)
    if depth > MAX_DEPTH then
        error("nested too deeply", 0)
    end
    local major, number, indefinite = reader:head()
    if major ~= 5 then
        error("no map where one must be", 0)
    end
    reader:elements(number, indefinite, function()
        local start = reader.at
        local kind, key = reader:head()
        if kind ~= 0 then
            error("a key that is no number", 0)
        end
        local row = key <= UInt64(65535) and rows[key:tonumber()]
        if row then
            return value(reader, tree, row, depth)
        end
        local text = tostring(key) .. ": " .. reader:describe(depth)
        local item = tree:add(other, reader.buffer(start, reader.at - start), text)
        if key > UInt64(65535) or not is_optional(key:tonumber()) then
            item:add_proto_expert_info(unknown)
        end
    end)
end

function dots.dissector(buffer, pinfo, tree)
    if buffer:len() == 0 then
        return 0
    end
    local root = tree:add(dots, buffer())
    local reader = Reader.new(buffer)
    local fine, why = pcall(function()
        -- The self-describing tag 271 may stand in front (RFC 9132 section 10.5).
        if buffer:len() > 3 and buffer(0, 3):uint() == 0xd9010f then
            reader.at = 3
        end
        map(reader, root, 1)
        if reader.at < buffer:len() then
            error("octets behind the end", 0)
        end
    end)
    if not fine then
        root:add_proto_expert_info(malformed, "Malformed DOTS body: " .. tostring(why) .. " at octet " .. reader.at)
    end
    return buffer:len()
end

DissectorTable.get("media_type"):add("application/dots+cbor", dots)
