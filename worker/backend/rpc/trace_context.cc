#include "worker/backend/rpc/trace_context.h"

#include <algorithm>
#include <set>

#include "shared/base/ascii.h"

namespace inferpool::backend {
namespace {

bool IsLowerHex(std::string_view text) {
  return std::ranges::all_of(
      text, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

bool IsId(std::string_view text) {
  return IsLowerHex(text) && text.find_first_not_of('0') != std::string_view::npos;
}

// "00-<32 digits: trace>-<16: parent>-<2: flags>"; a later version may have more behind a dash.
bool IsTraceparent(std::string_view text) {
  constexpr std::size_t kLength = 55;
  constexpr std::size_t kMaxLength = 256;  // of a later version
  if (text.size() > kMaxLength) return false;
  if (text.size() < kLength || text[2] != '-' || text[35] != '-' || text[52] != '-') return false;
  const std::string_view version = text.substr(0, 2);
  if (!IsLowerHex(version) || version == "ff") return false;
  if (text.size() > kLength && (version == "00" || text[kLength] != '-')) return false;
  return IsId(text.substr(3, 32)) && IsId(text.substr(36, 16)) && IsLowerHex(text.substr(53, 2)) &&
         std::ranges::all_of(text, [](char c) { return c > ' ' && c < 0x7f; });
}

bool IsKey(std::string_view key) {
  const auto is_lower_or_digit = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
  };
  return !key.empty() && key.size() <= 256 && is_lower_or_digit(key.front()) &&
         std::ranges::all_of(key, [&](char c) {
           return is_lower_or_digit(c) ||
                  std::string_view("_-*/@").find(c) != std::string_view::npos;
         });
}

bool IsValue(std::string_view value) {
  return !value.empty() && value.size() <= 256 &&
         std::ranges::all_of(value, [](char c) { return c >= ' ' && c < 0x7f && c != '='; });
}

// The list, without blanks around its members; empty when it is not valid.
std::string Tracestate(std::string_view text) {
  constexpr std::size_t kMaxMembers = 32;
  // What the standard wants to be passed on at least. gRPC takes 8 KiB of metadata in all.
  constexpr std::size_t kMaxLength = 512;
  if (text.size() > kMaxLength) return "";
  std::string list;
  std::set<std::string_view> keys;
  while (!text.empty()) {
    const std::size_t comma = std::min(text.find(','), text.size());
    const std::string_view member = Trim(text.substr(0, comma));
    text.remove_prefix(std::min(comma + 1, text.size()));
    if (member.empty()) continue;  // which the standard allows
    const std::size_t equals = std::min(member.find('='), member.size() - 1);
    const std::string_view key = member.substr(0, equals);
    if (!IsKey(key) || !IsValue(member.substr(equals + 1)) || !keys.insert(key).second ||
        keys.size() > kMaxMembers) {
      return "";
    }
    list += (list.empty() ? "" : ",") + std::string(member);
  }
  return list;
}

}  // namespace

std::optional<TraceContext> ParseTraceContext(std::string_view traceparent,
                                              std::string_view tracestate) {
  const std::string_view parent = Trim(traceparent);
  if (!IsTraceparent(parent)) return std::nullopt;
  return TraceContext{std::string(parent), Tracestate(tracestate)};
}

}  // namespace inferpool::backend
