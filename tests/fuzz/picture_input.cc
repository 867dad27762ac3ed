// The pictures in a request's body: a line with the Content-Type, one with the Content-Encoding,
// then the body; a form, JSON, or the picture itself.
#include "worker/http/picture_input.h"

#include <absl/strings/escaping.h>

#include <optional>
#include <string>
#include <utility>
#include <variant>

#include "tests/fuzz/check.h"
#include "worker/http/parameters.h"

using namespace inferpool;

namespace {

constexpr int kMaxPictures = 4;

void CheckPicture(const http::PictureInput& picture, const fcgi::Request& request,
                  const http::PictureInputs& inputs) {
  if (const auto* problem = std::get_if<http::Problem>(&picture)) {
    HOLDS((problem->status == 400 || problem->status == 415) && !problem->detail.empty());
    return;
  }
  const auto bytes = std::get<std::string_view>(picture);
  HOLDS(!bytes.empty());
  bool found = fuzz::Within(bytes, request.body);
  for (const std::string& decoded : inputs.decoded) {
    found = found || fuzz::Within(bytes, decoded);
    HOLDS(decoded.size() <= request.body.size());
  }
  HOLDS(found);
}

// What RFC 4648 makes of a text in the alphabet of its section 4 or 5, but not of both; blanks do
// not count, padding may be left out.
std::optional<std::string> FromBase64(std::string_view text) {
  constexpr std::string_view kAlphabet =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_";
  const bool is_both = text.find_first_of("+/") != std::string_view::npos &&
                       text.find_first_of("-_") != std::string_view::npos;
  if (is_both) return std::nullopt;
  std::string bytes;
  unsigned bits = 0;
  std::size_t characters = 0;
  std::size_t padding = 0;
  for (const char c : text) {
    if (c == ' ' || (c >= '\t' && c <= '\r')) continue;
    if (c == '=') {
      ++padding;
      continue;
    }
    const std::size_t place = kAlphabet.find(c);
    if (place == std::string_view::npos || padding > 0) return std::nullopt;
    const std::size_t value = place < 64 ? place : place - 2;
    bits = bits << 6U | static_cast<unsigned>(value);
    ++characters;
    if (characters % 4 != 1) {
      const std::size_t spare = 6 - 2 * ((characters - 1) % 4);
      bytes += static_cast<char>(bits >> spare & 0xffU);
    }
  }
  if (characters % 4 == 1) return std::nullopt;
  if (padding > 0 && padding != (4 - characters % 4) % 4) return std::nullopt;
  return bytes;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view text = fuzz::Text(data, size);
  fcgi::Request request;
  request.content_type = fuzz::TakeLine(text);
  request.headers = {{"content-encoding", std::string(fuzz::TakeLine(text))}};
  request.body = text;

  http::PictureInputs inputs;
  CheckPicture(http::ReadPicture(request, inputs), request, inputs);
  const auto batch = http::ReadPictures(request, kMaxPictures);
  if (const auto* pictures = std::get_if<http::PictureInputs>(&batch)) {
    HOLDS(!pictures->pictures.empty() && pictures->pictures.size() <= kMaxPictures);
    for (const auto& picture : pictures->pictures) CheckPicture(picture, request, *pictures);
  } else {
    const auto& problem = std::get<http::Problem>(batch);
    HOLDS(problem.status == 400 || problem.status == 413 || problem.status == 415);
  }

  // Any picture survives the way through base64; any text is the picture that it should be, or
  // none.
  request.headers.clear();
  request.content_type = "application/json; charset=utf-8";
  const std::string original(text);
  std::string base64;
  absl::Base64Escape({original.data(), original.size()}, &base64);
  std::string json = "{\"image\":\"data:image/png;base64," + base64 + "\"}";
  request.body = json;
  const auto back = http::ReadPicture(request, inputs);
  HOLDS(original.empty() ? std::holds_alternative<http::Problem>(back)
                         : std::get<std::string_view>(back) == original);

  if (text.find_first_of("\"\\") != std::string_view::npos) return 0;
  for (const char c : text) {
    if (static_cast<unsigned char>(c) < ' ') return 0;
  }
  json = "{\"image\":\"data:;base64," + original + "\"}";
  request.body = json;
  const auto read = http::ReadPicture(request, inputs);
  const auto expected = FromBase64(http::PercentDecode(text));  // as it may be in a URL
  if (expected && !expected->empty()) {
    HOLDS(std::holds_alternative<std::string_view>(read));
    HOLDS(std::get<std::string_view>(read) == *expected);
  } else {
    HOLDS(std::get<http::Problem>(read).status == 400);
  }
  return 0;
}
