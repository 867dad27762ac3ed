// The configuration: a file, and behind a zero byte the overrides of a command line, one a line.
// What has no problems is a configuration that nginx's can be made of.
#include "shared/config/config.h"

#include <algorithm>
#include <string>

#include "ops/cli/nginx_config.h"
#include "tests/fuzz/check.h"

using namespace inferpool;

namespace {

// nginx's own reading: the names of the blocks at the top, in order; "?" where it is no
// configuration. Words may be quoted, and a backslash takes the next character as it is.
std::string TopBlocks(std::string_view text) {
  std::string blocks;
  std::string word;  // the first of the statement
  bool first = true;
  int depth = 0;
  for (std::size_t at = 0; at < text.size(); ++at) {
    const char c = text[at];
    const bool begins =
        at == 0 || std::string_view(" \t\n;{}").find(text[at - 1]) != std::string_view::npos;
    if (begins && c == '#') {
      at = std::min(text.find('\n', at), text.size());
    } else if (begins && (c == '"' || c == '\'')) {
      for (++at; at < text.size() && text[at] != c; ++at) {
        if (text[at] == '\\') ++at;
      }
      if (at >= text.size()) return "?";
    } else if (c == '\\') {
      ++at;
    } else if (c == '{' && !begins && text[at - 1] == '$') {
      at = std::min(text.find('}', at), text.size());
    } else if (c == '{') {
      if (depth++ == 0) blocks += word + ' ';
      word.clear();
      first = true;
    } else if (c == '}') {
      if (--depth < 0) return "?";
      word.clear();
      first = true;
    } else if (c == ';') {
      word.clear();
      first = true;
    } else if (c == ' ' || c == '\t' || c == '\n') {
      first = first && word.empty();
    } else if (first) {
      word += c;
    }
  }
  return depth == 0 ? blocks : "?";
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view text = fuzz::Text(data, size);
  const std::string_view file = text.substr(0, text.find('\0'));
  text.remove_prefix(std::min(file.size() + 1, text.size()));
  ConfigOverrides overrides;
  while (!text.empty()) overrides.emplace_back(fuzz::TakeLine(text));

  const ConfigResult result = ParseConfig(file, "/etc/inferpool", overrides);
  for (const ConfigProblem& problem : result.problems) {
    HOLDS(problem.line >= 0 && !problem.message.empty());
    HOLDS(!Format(problem, "inferpool.json").empty());
  }
  if (!result.problems.empty()) return 0;
  HOLDS(result.config.workers >= 1 && result.config.state.starts_with('/'));
  HOLDS(result.config.listen.socket.starts_with('/'));
  const std::string nginx = ops::NginxConfig(result.config, {});
  HOLDS(TopBlocks(nginx) == "events http ");
  return 0;
}
