// A connection to Redis, for one thread at a time. It waits for its answers, at most as long as a
// deadline says.
//
// The codes of its errors say what kind they are:
//   UNAVAILABLE          Redis is away, or loads its data, or took too long: the connection is of
//                        no more use, make another one
//   PERMISSION_DENIED    the user or the password is wrong, or the user may not do this
//   FAILED_PRECONDITION  a key holds something of another type (WRONGTYPE)
//   RESOURCE_EXHAUSTED   Redis has no memory left (OOM)
//   NOT_FOUND            there is no such stream or group (NOGROUP)
//   ABORTED              a script of ours says that the shard's lease is somebody else's
//   INTERNAL             anything else that Redis says
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "shared/base/status.h"

struct redisContext;
struct redisReply;

namespace inferpool::streams {

// An answer of Redis, or a part of one. A part is valid as long as the answer lives.
class Reply {
 public:
  explicit Reply(const redisReply* reply) : reply_(reply) {}

  bool IsNil() const;
  bool IsList() const;
  std::int64_t Number() const;    // of an integer, or of a text that is one; 0 for anything else
  std::string_view Text() const;  // empty for anything that is no text
  std::size_t size() const;       // of a list; 0 for anything else
  Reply at(std::size_t i) const;  // of a list, i < size()
  absl::Status ToStatus() const;  // the error that it is, or OK

 private:
  const redisReply* reply_;
};

// An answer that owns its memory.
class OwnedReply {
 public:
  explicit OwnedReply(redisReply* reply) : reply_(reply) {}
  Reply operator*() const { return Reply(reply_.get()); }

 private:
  struct Free {
    void operator()(redisReply* reply) const;
  };
  std::unique_ptr<redisReply, Free> reply_;
};

// A command: its name and arguments, which may hold any bytes. They must live until the command has
// been sent.
using Arguments = std::vector<std::string_view>;

// A script in Lua, which Redis knows by its SHA-1 once it has been loaded. The text must have
// static storage.
class Script {
 public:
  explicit Script(std::string_view text);
  std::string_view text() const { return text_; }
  const std::string& digest() const { return digest_; }

 private:
  std::string_view text_;
  std::string digest_;  // in hexadecimal digits
};

struct RedisAddress {
  std::string where;  // "unix:/path" or "HOST:PORT"
  std::string user = {};
  std::string password = {};  // empty: none is asked for
  // For the connection, and for each answer; more for an answer that Redis was asked to wait for.
  std::chrono::milliseconds patience{2'000};
};

class Redis {
 public:
  // Connects, and says who we are.
  static absl::StatusOr<Redis> Connect(const RedisAddress& address);

  // Sends one command and waits for its answer. An error that Redis answers is the status.
  absl::StatusOr<OwnedReply> Call(const Arguments& command);

  // Sends all commands at once and waits for all answers, in their order; an answer may be an
  // error. The status is an error only when the connection broke: then it is not known which of
  // them Redis has done.
  absl::StatusOr<std::vector<OwnedReply>> CallAll(std::span<const Arguments> commands);

  // The calls of scripts, all at once: each has the script's keys and arguments. Scripts that Redis
  // does not know (any more) are loaded first and called again.
  struct ScriptCall {
    const Script* script;
    std::vector<std::string_view> keys;
    std::vector<std::string_view> arguments;
  };
  absl::StatusOr<std::vector<OwnedReply>> RunAll(std::span<const ScriptCall> calls);
  absl::StatusOr<OwnedReply> Run(const ScriptCall& call);

  // For a command whose answer takes its time: sends it and returns. Readable() on `fd` says that
  // there is something; Receive then waits for the rest. One command at a time.
  absl::Status Send(const Arguments& command);
  absl::StatusOr<OwnedReply> Receive();
  // One that has come with the one before; nullopt: there is none.
  std::optional<OwnedReply> ReceiveBuffered();

  // For the answers from now on, instead of the address's.
  void SetPatience(std::chrono::milliseconds patience);

  int fd() const;

 private:
  struct Free {
    void operator()(redisContext* context) const;
  };
  explicit Redis(redisContext* context) : context_(context) {}

  absl::Status Append(const Arguments& command);
  absl::Status Flush();
  absl::Status Broken() const;

  std::unique_ptr<redisContext, Free> context_;
};

}  // namespace inferpool::streams
