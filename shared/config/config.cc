#include "shared/config/config.h"

#include <fmt/format.h>
#include <json/json.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <optional>

#include "shared/base/grpc_address.h"
#include "shared/base/processors.h"
#include "shared/config/config_keys.h"
#include "shared/config/nginx_values.h"

namespace inferpool {
namespace {

// The Levenshtein distance of two words.
std::size_t Distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, replaced});
    }
  }
  return row[b.size()];
}

// The section of a key: "limits" for "limits.body_mb"; empty for a key outside all.
std::string_view Section(std::string_view name) {
  return name.substr(0, name.find('.') == std::string_view::npos ? 0 : name.find('.'));
}

// What was probably meant by `word`: a key, also one that stands in another section; a section
// where an object was given.
std::string NearestName(std::string_view word, bool is_object) {
  std::string_view nearest;
  std::size_t nearest_distance = std::string_view::npos;
  const auto consider = [&](std::string_view written, std::string_view name) {
    if (name.empty()) return;
    const std::size_t distance = Distance(word, written);
    if (distance >= nearest_distance) return;
    nearest_distance = distance;
    nearest = name;
  };
  for (const ConfigKey& key : ConfigKeys()) {
    const std::string_view section = Section(key.name);
    if (std::holds_alternative<ObjectKey>(key.kind)) {
      consider(key.name, key.name);
    } else if (is_object) {
      consider(section, section);
    } else {
      consider(key.name, key.name);
      if (!section.empty()) consider(key.name.substr(section.size() + 1), key.name);
    }
  }
  return std::string(nearest);
}

const ConfigKey* FindKey(std::string_view name) {
  const auto keys = ConfigKeys();
  const auto it = std::ranges::find(keys, name, &ConfigKey::name);
  return it == keys.end() ? nullptr : &*it;
}

// The section names: "limits" for "limits.body_mb".
bool IsSection(std::string_view name) {
  return !name.empty() && std::ranges::any_of(ConfigKeys(), [&](const ConfigKey& key) {
    return Section(key.name) == name;
  });
}

std::string Absolute(const std::string& path, const std::string& folder) {
  if (path.empty()) return path;
  return std::filesystem::absolute(std::filesystem::path(folder) / path).lexically_normal();
}

std::string Shown(const Json::Value& value) {
  Json::StreamWriterBuilder builder;
  builder["indentation"] = "";
  std::string text = Json::writeString(builder, value);
  if (text.size() > 60) text = text.substr(0, 57) + "...";
  return text;
}

// Puts `value` into the key's field; false when the key does not allow it.
struct Assign {
  Config& config;
  const Json::Value& value;
  const std::string& folder;

  bool operator()(const IntegerKey& key) const {
    if (!value.isInt() || value.isBool()) return false;
    if (value.asInt() < key.min || value.asInt() > key.max) return false;
    key.field(config) = value.asInt();
    return true;
  }
  bool operator()(const NumberKey& key) const {
    if (!value.isNumeric() || value.isBool()) return false;
    const double number = value.asDouble();
    if (!(number >= key.min && number <= key.max)) return false;
    key.field(config) = number;
    return true;
  }
  bool operator()(const BooleanKey& key) const {
    if (!value.isBool()) return false;
    key.field(config) = value.asBool();
    return true;
  }
  bool operator()(const TextKey& key) const {
    if (!IsText(value)) return false;
    const std::string text = value.asString();
    if (!key.words.empty() && std::ranges::find(key.words, text) == key.words.end()) return false;
    key.field(config) = text;
    return true;
  }
  bool operator()(const PathKey& key) const {
    if (!IsText(value) || (value.asString().empty() && !key.may_be_empty)) return false;
    const std::string text = value.asString();
    const bool is_other =
        !key.other.empty() &&
        (key.other.ends_with(':') ? text.starts_with(key.other) : text == key.other);
    key.field(config) = is_other ? text : Absolute(text, folder);
    return true;
  }
  bool operator()(const TextListKey& key) const {
    if (!value.isArray() || !std::all_of(value.begin(), value.end(), IsText)) return false;
    key.field(config).clear();
    for (const Json::Value& item : value) {
      if (item.asString().empty()) return false;
      key.field(config).push_back(item.asString());
    }
    return true;
  }

  // Parser::Set reads its members.
  bool operator()(const ObjectKey&) const { return value.isObject(); }

  // Control characters would end up in nginx's configuration and in socket names.
  static bool IsText(const Json::Value& value) {
    if (!value.isString()) return false;
    const std::string text = value.asString();
    return std::ranges::none_of(
        text, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
  }
};

class Parser {
 public:
  Parser(std::string_view text, std::string folder) : text_(text), folder_(std::move(folder)) {
    for (const ConfigKey& key : ConfigKeys()) {
      if (const auto* path = std::get_if<PathKey>(&key.kind)) {
        std::string& field = path->field(result_.config);
        field = Absolute(field, folder_);
      }
    }
  }

  void ReadText() {
    // jsoncpp takes a zero byte for the end and would believe what stands before it.
    if (const std::size_t zero = text_.find('\0'); zero != std::string_view::npos) {
      Add(LineAt(static_cast<std::ptrdiff_t>(zero)), "", "is not JSON: there is a zero byte");
      return;
    }
    Json::Value root;
    std::string errors;
    if (!ReadJson(text_, root, errors)) {
      AddSyntaxProblem(errors);
      return;
    }
    if (!root.isObject()) {
      Add(1, "", "the file must hold one JSON object: { ... }");
      return;
    }
    ReadObject(root, "");
  }

  void ReadOverride(const std::string& text) {
    const std::size_t equals = text.find('=');
    if (equals == std::string::npos) {
      Add(0, text, "must have the form key=value");
      return;
    }
    const std::string name = text.substr(0, equals);
    const std::string value = text.substr(equals + 1);
    const ConfigKey* key = FindKey(name);
    if (key == nullptr) {
      Add(0, name, UnknownKey(name, /*is_object=*/false));
      return;
    }
    Json::Value json(value);
    if (!std::holds_alternative<TextKey>(key->kind) &&
        !std::holds_alternative<PathKey>(key->kind)) {
      std::string errors;
      if (!ReadJson(value, json, errors)) json = Json::Value(value);
    }
    Set(*key, json, 0, std::filesystem::current_path());
  }

  ConfigResult Finish() {
    FillIn();
    CheckTogether();
    std::ranges::stable_sort(result_.problems, {}, &ConfigProblem::line);
    return std::move(result_);
  }

 private:
  // False, with jsoncpp's words, when `text` is not one JSON value to its end.
  static bool ReadJson(std::string_view text, Json::Value& value, std::string& errors) {
    Json::CharReaderBuilder builder;
    builder["collectComments"] = false;
    builder["allowComments"] = true;
    builder["rejectDupKeys"] = true;
    builder["failIfExtra"] = true;
    builder["stackLimit"] = 64;
    const std::unique_ptr<Json::CharReader> reader(builder.newCharReader());
    try {
      return reader->parse(text.data(), text.data() + text.size(), &value, &errors);
    } catch (const std::exception& error) {  // jsoncpp throws past its stack limit
      errors = error.what();
      return false;
    }
  }

  void Add(int line, std::string key, std::string message) {
    result_.problems.push_back({line, std::move(key), std::move(message)});
  }

  int LineAt(std::ptrdiff_t offset) const {
    const std::size_t end =
        std::min(static_cast<std::size_t>(std::max<std::ptrdiff_t>(offset, 0)), text_.size());
    return 1 + static_cast<int>(std::ranges::count(text_.substr(0, end), '\n'));
  }

  // jsoncpp says "* Line 3, Column 5\n  Missing ',' or '}' in object declaration\n".
  void AddSyntaxProblem(const std::string& errors) {
    int line = 0;
    const std::size_t at = errors.find("Line ");
    if (at != std::string::npos) line = std::atoi(errors.c_str() + at + 5);
    std::string reason = errors;
    const std::size_t newline = errors.find('\n');
    if (newline != std::string::npos) reason = errors.substr(newline + 1);
    reason = reason.substr(0, reason.find('\n'));
    reason.erase(0, reason.find_first_not_of(' '));
    Add(line, "", fmt::format("is not JSON: {}", reason));
  }

  static std::string UnknownKey(std::string_view name, bool is_object) {
    return fmt::format("unknown key; the nearest known one is {}", NearestName(name, is_object));
  }

  void ReadObject(const Json::Value& object, const std::string& prefix) {
    for (const std::string& member : object.getMemberNames()) {
      const std::string name = prefix + member;
      const Json::Value& value = object[member];
      const int line = LineAt(value.getOffsetStart());
      const bool dotted = member.find('.') != std::string::npos;
      if (const ConfigKey* key = FindKey(name); key != nullptr && dotted) {
        Add(line, name, fmt::format("is written {{\"{}\": {{...}}}} in a file", Section(name)));
      } else if (key != nullptr) {
        keys_in_file_[name] = line;
        Set(*key, value, line, folder_);
      } else if (IsSection(name) && value.isObject()) {
        ReadObject(value, name + ".");
      } else if (IsSection(name)) {
        Add(line, name, fmt::format("is {}, allowed is an object {{ ... }}", Shown(value)));
      } else {
        Add(line, name, UnknownKey(name, value.isObject()));
      }
    }
  }

  void Set(const ConfigKey& key, const Json::Value& value, int line, const std::string& folder) {
    if (!std::visit(Assign{result_.config, value, folder}, key.kind)) {
      Add(line, std::string(key.name),
          fmt::format("is {}, allowed is {}", Shown(value), Allowed(key)));
    } else if (const auto* object = std::get_if<ObjectKey>(&key.kind)) {
      // An override has no lines.
      for (MemberProblem& problem : object->read(value, folder, result_.config)) {
        Add(line == 0 ? 0 : LineAt(problem.offset), std::move(problem.key),
            std::move(problem.message));
      }
      if (line != 0 && key.name == "models") NumberModels(value);
    }
  }

  // Notes where the models stand, for what only the worker finds wrong with them.
  void NumberModels(const Json::Value& object) {
    for (auto& [name, model] : result_.config.models) {
      model.line = LineAt(object[name].getOffsetStart());
    }
  }

  void FillIn() {
    Config& c = result_.config;
    if (c.workers == 0) {
      c.workers = std::clamp(UsableProcessors(), 1, c.workers_max);
    }
    // As it is written in front of a port.
    if (std::string& address = c.sidecar.address; nginx_values::IsBracketed(address)) {
      address = address.substr(1, address.size() - 2);
    }
    const std::string state = c.state + "/";
    if (c.listen.socket.empty()) c.listen.socket = state + "inferpool.sock";
    if (c.modelserver.listen.empty()) {
      // Who is not root may make sockets in a folder of its own alone.
      const std::string folder = c.user.empty() ? state : state + "children/";
      c.modelserver.listen = "unix:" + folder + "modelserver.sock";
    }
    if (c.backend.targets.empty() && c.modelserver.enabled) {
      c.backend.targets = {c.modelserver.listen};
    }
    if (c.nginx.base_path.ends_with('/')) c.nginx.base_path.pop_back();
    if (c.nginx.certificate.empty() && c.nginx.certificate_key.empty()) {
      c.nginx.certificate = state + "tls/certificate.pem";
      c.nginx.certificate_key = state + "tls/key.pem";
    }
  }

  // What no single key shows.
  void CheckTogether() {
    const Config& c = result_.config;
    if (!IsTcp(c.listen.socket)) {
      CheckSocketPath("listen.socket", c.listen.socket);
    } else if (!nginx_values::IsAddressAndPort(TcpAddress(c.listen.socket))) {
      Add(LineOf("listen.socket"), "listen.socket",
          fmt::format("is \"{}\", allowed is tcp:ADDRESS:PORT with an IP address (IPv6 in [ ])",
                      c.listen.socket));
    }
    if (c.modelserver.enabled) CheckGrpcSocket("modelserver.listen", c.modelserver.listen);
    for (const std::string& target : c.backend.targets) {
      if (target != c.modelserver.listen) CheckGrpcSocket("backend.targets", target);
    }
    if (c.backend.targets.empty()) {
      Add(LineOf("backend.targets"), "backend.targets",
          "is empty, but modelserver.enabled is false: name at least one model server");
    }
    for (const auto& [name, route] : c.routes) {
      if (!c.pipelines.contains(name)) continue;
      const std::string key = "routes." + name;
      Add(LineOf("routes"), key, "has the name of a pipeline: name one of the two otherwise");
    }
    if (c.analyze.size() > kMaxAnalyzed) {
      Add(LineOf("analyze"), "analyze",
          fmt::format("names {} models, allowed are {}", c.analyze.size(), kMaxAnalyzed));
    }
    if (c.nginx.certificate.empty() != c.nginx.certificate_key.empty()) {
      const bool missing_key = c.nginx.certificate_key.empty();
      const char* key = missing_key ? "nginx.certificate_key" : "nginx.certificate";
      Add(LineOf(key), key, "must be set together with the other half of the pair");
    }
    if (c.workers > c.workers_max) {
      Add(LineOf("workers"), "workers",
          fmt::format("is {}, more than workers_max allows ({})", c.workers, c.workers_max));
    }
    if (c.user.empty() && !c.group.empty()) {
      Add(LineOf("group"), "group", "is set, but user is not");
    }
    if (c.nginx.port == c.nginx.http_port) {
      Add(LineOf("nginx.http_port"), "nginx.http_port",
          fmt::format("is {}, the same port as nginx.port", c.nginx.http_port));
    }
    for (const auto& [key, port] :
         {std::pair("nginx.port", c.nginx.port), std::pair("nginx.http_port", c.nginx.http_port)}) {
      if (port == c.sidecar.port) {
        Add(LineOf(key), key, fmt::format("is {}, the same port as sidecar.port", port));
      }
    }
    if (!nginx_values::IsServerName(c.nginx.server_name)) {
      Add(LineOf("nginx.server_name"), "nginx.server_name",
          fmt::format("is \"{}\", allowed is a host name", c.nginx.server_name));
    }
    if (const std::string& redis = c.streams.redis;
        !redis.starts_with("unix:/") && !nginx_values::IsHostAndPort(redis)) {
      Add(LineOf("streams.redis"), "streams.redis",
          fmt::format("is \"{}\", allowed is unix:/path or HOST:PORT", redis));
    }
    CheckEach(
        "cors.origins", c.cors.origins, nginx_values::IsOrigin,
        "an origin in small letters, such as https://example.com or https://*.example.com, or *");
    CheckEach("cors.headers", c.cors.headers, nginx_values::IsHeaderName,
              "a header's name, such as X-Requested-With, or *");
    CheckEach("nginx.resolvers", c.nginx.resolvers, nginx_values::IsResolver,
              "an IP address, with or without a port");
    CheckEach("nginx.trusted_proxies", c.nginx.trusted_proxies, nginx_values::IsNetwork,
              "an IP address or a network, such as 10.0.0.0/8");
    if (c.nginx.proxy_protocol && c.nginx.trusted_proxies.empty()) {
      Add(LineOf("nginx.proxy_protocol"), "nginx.proxy_protocol",
          "is true, but nginx.trusted_proxies names nobody who is believed what it says");
    }
    if (!nginx_values::IsBasePath(c.nginx.base_path)) {
      Add(LineOf("nginx.base_path"), "nginx.base_path",
          fmt::format("is \"{}\", allowed is a path of letters, digits, '.', '_' and '-', such as "
                      "/vision, that begins with none of our own (/v1, /v2, /predict, /docs, "
                      "/livez, /readyz, /metrics)",
                      c.nginx.base_path));
    }
    CheckEach("nginx.metrics_allow", c.nginx.metrics_allow, nginx_values::IsNetwork,
              "an IP address or a network, such as 10.0.0.0/8");
    CheckEach("nginx.pools", c.nginx.pools, nginx_values::IsPool,
              "unix:/path/to/the.sock or host:port");
    CheckEach("nginx.sidecars", c.nginx.sidecars, nginx_values::IsHostAndPort, "host:port");
    if (c.nginx.ocsp_stapling && c.nginx.resolvers.empty()) {
      Add(LineOf("nginx.ocsp_stapling"), "nginx.ocsp_stapling",
          "is true, but nginx.resolvers names no DNS server to find the issuer's by");
    }
    if (!nginx_values::IsAddress(c.sidecar.address)) {
      Add(LineOf("sidecar.address"), "sidecar.address",
          fmt::format("is \"{}\", allowed is an IPv4 or an IPv6 address", c.sidecar.address));
    }
    for (const auto& [key, path] :
         {std::pair("state", &c.state), std::pair("nginx.certificate", &c.nginx.certificate),
          std::pair("nginx.certificate_key", &c.nginx.certificate_key),
          std::pair("listen.socket", &c.listen.socket), std::pair("nginx.pages", &c.nginx.pages),
          std::pair("nginx.swagger_ui", &c.nginx.swagger_ui)}) {
      if (!nginx_values::IsPath(*path)) {
        Add(LineOf(key), key, R"(has one of the characters " \ $ ; { } which nginx cannot take)");
      }
    }
  }

  void CheckEach(const char* key, const std::vector<std::string>& items,
                 bool (*is_allowed)(std::string_view), const char* allowed) {
    for (const std::string& item : items) {
      if (is_allowed(item)) continue;
      Add(LineOf(key), key, fmt::format("has \"{}\", allowed is {}", item, allowed));
    }
  }

  void CheckSocketPath(const char* key, std::string_view path) {
    if (path.size() <= nginx_values::kMaxSocketPath) return;
    Add(LineOf(key), key,
        fmt::format(
            "the socket's path {} has {} characters, allowed are {}: choose a shorter state "
            "folder",
            path, path.size(), nginx_values::kMaxSocketPath));
  }

  void CheckGrpcSocket(const char* key, std::string_view address) {
    const std::string_view path = UnixSocketPath(address);
    CheckSocketPath(key, path);
    if (path.find(',') == std::string_view::npos) return;
    Add(LineOf(key), key,
        fmt::format("the socket's path {} has a comma, at which gRPC parts it: choose another "
                    "state folder",
                    path));
  }

  int LineOf(const std::string& key) const {
    const auto it = keys_in_file_.find(key);
    return it == keys_in_file_.end() ? 0 : it->second;
  }

  std::string_view text_;
  std::string folder_;
  ConfigResult result_;
  std::map<std::string, int> keys_in_file_;
};

}  // namespace

ConfigResult ParseConfig(std::string_view text, const std::string& folder,
                         const ConfigOverrides& overrides) {
  Parser parser(text, folder);
  parser.ReadText();
  for (const std::string& text_of_override : overrides) parser.ReadOverride(text_of_override);
  return parser.Finish();
}

ConfigResult LoadConfig(const std::string& file, const ConfigOverrides& overrides) {
  std::error_code error;
  std::ifstream stream(file, std::ios::binary);
  if (!stream || std::filesystem::is_directory(file, error)) {
    ConfigResult result;
    result.problems.push_back({0, "", "cannot be read: is the path right?"});
    return result;
  }
  const std::string text{std::istreambuf_iterator<char>(stream), {}};
  return ParseConfig(text, std::filesystem::absolute(file).parent_path(), overrides);
}

std::vector<std::string> NamesOfModels(const Config& config) {
  std::vector<std::string> names;
  for (const auto& [name, model] : config.models) names.push_back(name);
  return names;
}

std::string Format(const ConfigProblem& problem, std::string_view file) {
  std::string text(file);
  if (problem.line > 0) text += fmt::format(":{}", problem.line);
  text += ": ";
  if (!problem.key.empty()) text += problem.key + ": ";
  return text + problem.message;
}

}  // namespace inferpool
