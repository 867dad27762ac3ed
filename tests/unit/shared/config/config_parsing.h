// Parsing a configuration, and saying what a test expects of its problems.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

#include "shared/config/config.h"

namespace inferpool::test {

constexpr const char* kFolder = "/srv/pool";

inline ConfigResult Parse(std::string_view text, const ConfigOverrides& overrides = {}) {
  return ParseConfig(text, kFolder, overrides);
}

inline std::string Print(const std::vector<ConfigProblem>& problems) {
  std::string text;
  for (const ConfigProblem& problem : problems) text += Format(problem, "FILE") + "\n";
  return text.empty() ? "no problem" : text;
}

inline bool Contains(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

inline testing::AssertionResult IsGood(const ConfigResult& result) {
  if (result.problems.empty()) return testing::AssertionSuccess();
  return testing::AssertionFailure() << Print(result.problems);
}

// There is exactly this one problem, and its message has `part`.
inline testing::AssertionResult HasOnly(const ConfigResult& result, int line,
                                        const std::string& key, std::string_view part) {
  if (result.problems.size() == 1 && result.problems[0].line == line &&
      result.problems[0].key == key && Contains(result.problems[0].message, part)) {
    return testing::AssertionSuccess();
  }
  return testing::AssertionFailure()
         << "wanted only line " << line << ", key \"" << key << "\", \"" << part << "\"; got\n"
         << Print(result.problems);
}

// Some problem is about `key`.
inline testing::AssertionResult Refuses(const ConfigResult& result, const std::string& key) {
  for (const ConfigProblem& problem : result.problems) {
    if (problem.key == key) return testing::AssertionSuccess();
  }
  return testing::AssertionFailure() << "no problem with " << key << "; got\n"
                                     << Print(result.problems);
}

// A file that sets one key; the value stands in line 3.
inline std::string FileWith(std::string_view key, const std::string& json) {
  const std::size_t dot = key.find('.');
  if (dot == std::string_view::npos) return "{\n\n\"" + std::string(key) + "\": " + json + "\n}\n";
  return "{ \"" + std::string(key.substr(0, dot)) + "\": {\n\n\"" +
         std::string(key.substr(dot + 1)) + "\": " + json + "\n} }\n";
}

}  // namespace inferpool::test
