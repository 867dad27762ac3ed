#include "worker/http/picture_input.h"

#include <absl/strings/escaping.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "shared/base/ascii.h"
#include "shared/base/strict_json.h"
#include "shared/base/utf8.h"
#include "worker/http/header_text.h"
#include "worker/http/multipart.h"

namespace inferpool::http {
namespace {

constexpr int kMaxDepth = 8;
constexpr std::size_t kMaxValues = 100'000;  // far more than a batch may have pictures

// The body can be read, and its Content-Encoding is none.
std::optional<Problem> CheckBody(const fcgi::Request& request) {
  if (!request.body_status.ok()) return BodyProblem(request.body_status);
  if (ContentCoding(request.Header("content-encoding")).empty()) return std::nullopt;
  return UnsupportedCoding("the body has a Content-Encoding; send it as it is, pictures are packed",
                           "identity");
}

PictureInput NotEmpty(std::string_view picture) {
  if (picture.empty()) return BadRequest("the request has no image: the picture is empty");
  return picture;
}

// What stands behind "data:image/png;base64," (RFC 2397), or all of it when it is no such URL. It
// may come to lie in `unescaped`.
std::variant<std::string_view, Problem> Base64Part(std::string_view text, std::string& unescaped) {
  const std::string_view start = text.substr(0, 8);
  if (!LowerCase(start).starts_with("data:")) {
    if (text.substr(0, 16).find("://") != std::string_view::npos) {
      return BadRequest("the image is an address; addresses are not fetched, send the picture");
    }
    return text;
  }
  const std::size_t comma = text.find(',');
  if (comma == std::string_view::npos) return BadRequest("the data: URL has no comma");
  if (!LowerCase(Trim(text.substr(0, comma))).ends_with(";base64")) {
    return BadRequest("the data: URL must be of base64: data:image/jpeg;base64,...");
  }
  text.remove_prefix(comma + 1);
  if (text.find('%') == std::string_view::npos) return text;
  unescaped = PercentDecode(text);
  return unescaped;
}

// Reads base64 in either alphabet (RFC 4648, sections 4 and 5), but not in both at once, which no
// encoder writes. False when it is not sound.
bool ReadBase64(std::string_view text, std::string& picture) {
  const absl::string_view absl_text(text.data(), text.size());
  if (text.find('.') != std::string_view::npos) return false;  // abseil takes it for padding
  if (text.find_first_of("-_") == std::string_view::npos) {
    return absl::Base64Unescape(absl_text, &picture);
  }
  return text.find_first_of("+/") == std::string_view::npos &&
         absl::WebSafeBase64Unescape(absl_text, &picture);
}

PictureInput FromJson(const Json::Value& value, std::deque<std::string>& decoded) {
  if (!value.isString()) {
    return BadRequest("an image must be a text: base64, or a data: URL");
  }
  const char* begin = nullptr;
  const char* end = nullptr;
  value.getString(&begin, &end);
  std::string unescaped;
  const auto base64 = Base64Part({begin, static_cast<std::size_t>(end - begin)}, unescaped);
  if (const auto* problem = std::get_if<Problem>(&base64)) return *problem;
  const auto text = std::get<std::string_view>(base64);
  std::string& picture = decoded.emplace_back();
  if (!ReadBase64(text, picture)) {
    return BadRequest("the image is not base64 (RFC 4648, section 4 or 5)");
  }
  return NotEmpty(picture);
}

// The value of the only member that there may be.
std::variant<Json::Value, Problem> ReadMember(const fcgi::Request& request, std::string_view name,
                                              std::string_view shape) {
  absl::StatusOr<Json::Value> json = ReadStrictJson(request.body, kMaxDepth, kMaxValues);
  if (!json.ok()) {
    return BadRequest(fmt::format("the body is not the JSON that it should be: {}",
                                  std::string(Message(json.status()))));
  }
  if (!json->isObject()) return BadRequest(fmt::format("the JSON must be {}", shape));
  for (auto member = json->begin(); member != json->end(); ++member) {
    if (member.name() == name) continue;
    constexpr std::size_t kMaxShown = 50;
    return BadRequest(
        fmt::format("the JSON must be {} and have nothing else; it has \"{}\". "
                    "Parameters stand in the query",
                    shape, Utf8Text(member.name(), kMaxShown)));
  }
  if (json->empty()) return BadRequest(fmt::format("the JSON must be {}; it is empty", shape));
  return std::move((*json)[std::string(name)]);
}

Problem WrongType(std::string_view type, std::string_view allowed) {
  return UnsupportedMedia(fmt::format("Content-Type is {}; send {}", type, allowed));
}

// True for the name itself, and for it as an item of a list: name[], name[0].
bool IsNamed(std::string_view field, std::string_view name) {
  if (!field.starts_with(name)) return false;
  field.remove_prefix(name.size());
  if (field.empty()) return true;
  return field.size() >= 2 && field.front() == '[' && field.back() == ']' &&
         std::ranges::all_of(field.substr(1, field.size() - 2),
                             [](char c) { return c >= '0' && c <= '9'; });
}

// A part's text. Some clients write each of a form's values as JSON, so that a text has quotes.
std::string_view ValueOf(const FormPart& part, std::deque<std::string>& decoded) {
  constexpr std::size_t kLongest = 1'000;
  if (part.content_type != "application/json" || part.content.size() > kLongest) {
    return part.content;
  }
  const auto json = ReadStrictJson(part.content, /*max_depth=*/1, /*max_values=*/1);
  return json.ok() && json->isString() ? decoded.emplace_back(json->asString()) : part.content;
}

// The names of a form's fields, as far as a text can hold them.
std::string NamesOf(const std::vector<FormPart>& parts) {
  constexpr std::size_t kMaxNames = 5;
  constexpr std::size_t kMaxName = 50;
  std::vector<std::string> names;
  for (const FormPart& part : parts) {
    std::string name = part.name.empty() ? "one without a name"
                                         : fmt::format("\"{}\"", Utf8Text(part.name, kMaxName));
    if (std::ranges::find(names, name) != names.end()) continue;
    if (names.size() == kMaxNames) {
      names.emplace_back("others");
      break;
    }
    names.push_back(std::move(name));
  }
  return names.empty() ? "none" : fmt::format("{}", fmt::join(names, ", "));
}

// Puts the pictures of that name, at least one, and the other fields of a form into `inputs`.
std::optional<Problem> FromForm(const fcgi::Request& request, std::string_view name,
                                PictureInputs& inputs) {
  const auto parts = ReadForm(request.content_type, request.body);
  if (!parts.ok()) return BodyProblem(parts.status());
  bool chose_none = false;
  for (const FormPart& part : *parts) {
    if (IsNamed(part.name, name)) {
      chose_none = chose_none || part.is_no_file;
      if (!part.is_no_file) inputs.pictures.push_back(NotEmpty(part.content));
    } else if (part.name != "_charset_") {
      inputs.fields.push_back({part.name, ValueOf(part, inputs.decoded)});
    }
  }
  if (inputs.pictures.empty()) {
    return BadRequest(
        chose_none ? fmt::format("the request has no image: no file is chosen for \"{}\"", name)
                   : fmt::format("the form has no field \"{}\"; those that it has: {}", name,
                                 NamesOf(*parts)));
  }
  if (std::ranges::any_of(inputs.fields, &std::string::empty, &FormField::name)) {
    return BadRequest("a part of the form has no name");
  }
  return std::nullopt;
}

std::variant<PictureInputs, Problem> FromJsonList(const fcgi::Request& request, int max_images) {
  const auto list = ReadMember(request, "images", R"({"images": ["base64", ...]})");
  if (const auto* problem = std::get_if<Problem>(&list)) return *problem;
  const auto& images = std::get<Json::Value>(list);
  if (!images.isArray() || images.empty()) {
    return BadRequest("\"images\" must be a list of at least one picture");
  }
  // Before they are decoded.
  if (images.size() > static_cast<unsigned>(max_images)) {
    return TooManyImages(images.size(), max_images);
  }
  PictureInputs inputs;
  for (const Json::Value& image : images) {
    inputs.pictures.push_back(FromJson(image, inputs.decoded));
  }
  return inputs;
}

}  // namespace

PictureInput ReadPicture(const fcgi::Request& request, PictureInputs& inputs) {
  if (auto problem = CheckBody(request)) return *std::move(problem);
  const std::string type = MediaType(request.content_type);
  if (type == "multipart/form-data") {
    PictureInputs form;
    if (auto problem = FromForm(request, "image", form)) return *std::move(problem);
    if (form.pictures.size() > 1) {
      return BadRequest("the form has more than one field \"image\"");
    }
    inputs.fields = std::move(form.fields);
    inputs.decoded = std::move(form.decoded);
    return std::move(form.pictures.front());
  }
  if (type == "application/json") {
    const auto member = ReadMember(request, "image", R"({"image": "base64 or data: URL"})");
    if (const auto* problem = std::get_if<Problem>(&member)) return *problem;
    return FromJson(std::get<Json::Value>(member), inputs.decoded);
  }
  if (!type.empty() && type != "application/octet-stream" && !type.starts_with("image/")) {
    return WrongType(type,
                     "multipart/form-data with a field \"image\", the picture itself as "
                     "image/jpeg, image/png, image/webp, image/gif or application/octet-stream, or "
                     "application/json with {\"image\": \"base64 or data: URL\"}");
  }
  return NotEmpty(request.body);
}

std::variant<PictureInputs, Problem> ReadPictures(const fcgi::Request& request, int max_images) {
  if (auto problem = CheckBody(request)) return *std::move(problem);
  const std::string type = MediaType(request.content_type);
  std::variant<PictureInputs, Problem> inputs;
  if (type == "multipart/form-data") {
    PictureInputs form;
    if (auto problem = FromForm(request, "images", form)) return *std::move(problem);
    inputs = std::move(form);
  } else if (type == "application/json") {
    inputs = FromJsonList(request, max_images);
  } else {
    return WrongType(type.empty() ? "missing" : type,
                     "multipart/form-data with fields \"images\", or application/json with "
                     "{\"images\": [\"base64 or data: URL\", ...]}");
  }
  if (const auto* found = std::get_if<PictureInputs>(&inputs)) {
    const std::size_t count = found->pictures.size();
    if (count > static_cast<std::size_t>(max_images)) return TooManyImages(count, max_images);
  }
  return inputs;
}

}  // namespace inferpool::http
