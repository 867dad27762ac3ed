#include "shared/redis/redis.h"

#include <fmt/format.h>
#include <hiredis/hiredis.h>
#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <utility>

namespace inferpool::streams {
namespace {

timeval ToTimeval(std::chrono::milliseconds time) {
  return {.tv_sec = time.count() / 1000, .tv_usec = time.count() % 1000 * 1000};
}

// What Redis says begins with a word that tells its kind.
absl::Status ErrorOf(std::string_view text) {
  const std::string_view word = text.substr(0, text.find(' '));
  const std::string message(text);
  const auto is_one_of = [&](auto... words) { return ((word == words) || ...); };
  if (is_one_of("LOADING", "MASTERDOWN", "BUSY", "READONLY", "CLUSTERDOWN", "TRYAGAIN")) {
    return absl::UnavailableError(message);
  }
  if (is_one_of("NOAUTH", "WRONGPASS", "NOPERM")) return absl::PermissionDeniedError(message);
  if (word == "WRONGTYPE") return absl::FailedPreconditionError(message);
  if (word == "OOM") return absl::ResourceExhaustedError(message);
  if (word == "NOGROUP" || word == "UNBLOCKED") return absl::NotFoundError(message);
  if (word == "LOST") return absl::AbortedError(message);
  return absl::InternalError(message);
}

bool IsUnknownScript(const Reply& reply) {
  return Message(reply.ToStatus()).starts_with("NOSCRIPT");
}

struct Endpoint {
  bool is_unix = false;
  std::string host;  // or path
  int port = 6379;
};

absl::StatusOr<Endpoint> ParseEndpoint(std::string_view where) {
  constexpr std::string_view kUnix = "unix:";
  if (where.starts_with(kUnix)) {
    return Endpoint{.is_unix = true, .host = std::string(where.substr(kUnix.size()))};
  }
  const std::size_t colon = where.rfind(':');
  Endpoint endpoint{.host = std::string(where.substr(0, colon))};
  if (endpoint.host.starts_with('[') && endpoint.host.ends_with(']')) {
    endpoint.host = endpoint.host.substr(1, endpoint.host.size() - 2);
  }
  if (colon != std::string_view::npos) {
    const std::string_view port = where.substr(colon + 1);
    const auto [end, error] = std::from_chars(port.begin(), port.end(), endpoint.port);
    if (error == std::errc() && end == port.end()) return endpoint;
  }
  return InvalidArgument("\"{}\" is neither unix:/path nor HOST:PORT", where);
}

}  // namespace

bool Reply::IsNil() const {
  return reply_ == nullptr || reply_->type == REDIS_REPLY_NIL;
}

bool Reply::IsList() const {
  return reply_ != nullptr && reply_->type == REDIS_REPLY_ARRAY;
}

std::int64_t Reply::Number() const {
  if (reply_ == nullptr) return 0;
  if (reply_->type == REDIS_REPLY_INTEGER) return reply_->integer;
  const std::string_view text = Text();
  std::int64_t number = 0;
  std::from_chars(text.begin(), text.end(), number);
  return number;
}

std::string_view Reply::Text() const {
  if (reply_ == nullptr || reply_->str == nullptr) return {};
  if (reply_->type != REDIS_REPLY_STRING && reply_->type != REDIS_REPLY_STATUS) return {};
  return {reply_->str, reply_->len};
}

std::size_t Reply::size() const {
  return IsList() ? reply_->elements : 0;
}

Reply Reply::at(std::size_t i) const {
  return Reply(reply_->element[i]);
}

absl::Status Reply::ToStatus() const {
  if (reply_ == nullptr || reply_->type != REDIS_REPLY_ERROR) return absl::OkStatus();
  return ErrorOf({reply_->str, reply_->len});
}

void OwnedReply::Free::operator()(redisReply* reply) const {
  freeReplyObject(reply);
}

void Redis::Free::operator()(redisContext* context) const {
  redisFree(context);
}

absl::StatusOr<Redis> Redis::Connect(const RedisAddress& address) {
  ASSIGN_OR_RETURN(const Endpoint endpoint, ParseEndpoint(address.where));
  const timeval patience = ToTimeval(address.patience);
  Redis redis(endpoint.is_unix
                  ? redisConnectUnixWithTimeout(endpoint.host.c_str(), patience)
                  : redisConnectWithTimeout(endpoint.host.c_str(), endpoint.port, patience));
  if (redis.context_ == nullptr) return absl::UnavailableError("there is no memory to connect");
  if (redis.context_->err != 0) return redis.Broken();
  redisSetTimeout(redis.context_.get(), patience);
  if (!endpoint.is_unix) redisEnableKeepAlive(redis.context_.get());
  if (!address.password.empty()) {
    Arguments auth = {"AUTH"};
    if (!address.user.empty()) auth.push_back(address.user);
    auth.push_back(address.password);
    if (const auto said = redis.Call(auth); !said.ok()) return said.status();
  }
  // Says at once that the data are not loaded yet, or that a password is asked for.
  if (const auto said = redis.Call({"PING"}); !said.ok()) return said.status();
  return redis;
}

absl::Status Redis::Broken() const {
  if (context_->err == REDIS_ERR_IO && (errno == EAGAIN || errno == EWOULDBLOCK)) {
    return absl::UnavailableError("Redis did not answer in time");
  }
  return absl::UnavailableError(fmt::format("Redis is away: {}", context_->errstr));
}

void Redis::SetPatience(std::chrono::milliseconds patience) {
  redisSetTimeout(context_.get(), ToTimeval(patience));
}

int Redis::fd() const {
  return context_->fd;
}

absl::Status Redis::Append(const Arguments& command) {
  std::vector<const char*> words;
  std::vector<std::size_t> lengths;
  words.reserve(command.size());
  lengths.reserve(command.size());
  for (const std::string_view word : command) {
    words.push_back(word.data() == nullptr ? "" : word.data());
    lengths.push_back(word.size());
  }
  if (redisAppendCommandArgv(context_.get(), static_cast<int>(words.size()), words.data(),
                             lengths.data()) != REDIS_OK) {
    return Broken();
  }
  return absl::OkStatus();
}

absl::Status Redis::Flush() {
  int done = 0;
  while (done == 0) {
    if (redisBufferWrite(context_.get(), &done) != REDIS_OK) return Broken();
  }
  return absl::OkStatus();
}

absl::Status Redis::Send(const Arguments& command) {
  RETURN_IF_ERROR(Append(command));
  return Flush();
}

absl::StatusOr<OwnedReply> Redis::Receive() {
  void* reply = nullptr;
  errno = 0;
  if (redisGetReply(context_.get(), &reply) != REDIS_OK || reply == nullptr) return Broken();
  return OwnedReply(static_cast<redisReply*>(reply));
}

std::optional<OwnedReply> Redis::ReceiveBuffered() {
  void* reply = nullptr;
  if (redisGetReplyFromReader(context_.get(), &reply) != REDIS_OK || reply == nullptr) {
    return std::nullopt;
  }
  return OwnedReply(static_cast<redisReply*>(reply));
}

absl::StatusOr<OwnedReply> Redis::Call(const Arguments& command) {
  RETURN_IF_ERROR(Append(command));
  absl::StatusOr<OwnedReply> reply = Receive();
  if (reply.ok()) RETURN_IF_ERROR((**reply).ToStatus());
  return reply;
}

absl::StatusOr<std::vector<OwnedReply>> Redis::CallAll(std::span<const Arguments> commands) {
  std::vector<OwnedReply> replies;
  replies.reserve(commands.size());
  for (const Arguments& command : commands) RETURN_IF_ERROR(Append(command));
  for (std::size_t i = 0; i < commands.size(); ++i) {
    ASSIGN_OR_RETURN(OwnedReply reply, Receive());
    replies.push_back(std::move(reply));
  }
  return replies;
}

absl::StatusOr<std::vector<OwnedReply>> Redis::RunAll(std::span<const ScriptCall> calls) {
  std::vector<std::string> counts;  // of keys, which the commands view
  counts.reserve(calls.size());
  std::vector<Arguments> commands;
  commands.reserve(calls.size());
  for (const ScriptCall& call : calls) {
    const std::string& count = counts.emplace_back(fmt::format("{}", call.keys.size()));
    Arguments& command = commands.emplace_back(Arguments{"EVALSHA", call.script->digest(), count});
    command.insert(command.end(), call.keys.begin(), call.keys.end());
    command.insert(command.end(), call.arguments.begin(), call.arguments.end());
  }
  ASSIGN_OR_RETURN(std::vector<OwnedReply> replies, CallAll(commands));
  for (std::size_t i = 0; i < calls.size(); ++i) {
    if (!IsUnknownScript(*replies[i])) continue;
    // EVAL loads it as well.
    commands[i][0] = "EVAL";
    commands[i][1] = calls[i].script->text();
    RETURN_IF_ERROR(Append(commands[i]));
    ASSIGN_OR_RETURN(replies[i], Receive());
  }
  return replies;
}

absl::StatusOr<OwnedReply> Redis::Run(const ScriptCall& call) {
  ASSIGN_OR_RETURN(std::vector<OwnedReply> replies, RunAll(std::span(&call, 1)));
  RETURN_IF_ERROR((*replies.front()).ToStatus());
  return std::move(replies.front());
}

Script::Script(std::string_view text) : text_(text) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned int length = 0;
  EVP_Digest(text.data(), text.size(), digest.data(), &length, EVP_sha1(), nullptr);
  for (unsigned int i = 0; i < length; ++i) digest_ += fmt::format("{:02x}", digest[i]);
}

}  // namespace inferpool::streams
