#include "shared/config/nginx_values.h"

#include <gtest/gtest.h>

#include <regex>
#include <string>
#include <vector>

namespace inferpool::nginx_values {
namespace {

using Texts = std::vector<std::string>;

void ExpectTaken(bool (*is_allowed)(std::string_view), const Texts& texts) {
  for (const std::string& text : texts) EXPECT_TRUE(is_allowed(text)) << text;
}

void ExpectRefused(bool (*is_allowed)(std::string_view), const Texts& texts) {
  for (const std::string& text : texts) EXPECT_FALSE(is_allowed(text)) << text;
}

TEST(NginxValuesTest, ServerNames) {
  ExpectTaken(IsServerName, {"_", "example.org", "*.example.org", "xn--bcher-kva.example",
                             "127.0.0.1", std::string(253, 'a')});
  ExpectRefused(IsServerName, {"", "*", "*.", "a*", "~a", "-a", ".a", std::string(254, 'a')});
}

TEST(NginxValuesTest, Origins) {
  ExpectTaken(IsOrigin, {"*", "https://example.org", "http://localhost:3000", "https://a-b.c:8443",
                         "http://127.0.0.1:1", "http://[::1]:8080", "https://[2001:db8::1]",
                         "chrome-extension://abcdefghijklmnop", "https://*.example.org",
                         "https://*.a-b.example.org:8443", "http://*.localhost:3000"});
  ExpectRefused(IsOrigin, {"",
                           "null",
                           "example.org",
                           "https://",
                           "https://a/",
                           "https://a/b",
                           "https://A",
                           "HTTPS://a",
                           "https://*.a",
                           "https://*.",
                           "https://*",
                           "https://*a.b",
                           "https://**.a.b",
                           "https://*.*.a.b",
                           "https://a.*.b",
                           "https://*..a.b",
                           "https://*.192.0.2.1",
                           "https://*.com.",
                           "https://*.[::1]",
                           "https://*.a.b:443",
                           "https://*.a.b:*",
                           "https://a:0",
                           "https://a:443",
                           "http://a:80",
                           "https://a:65536",
                           "https://a:",
                           "https://a:08",
                           "https://u@a",
                           "//a",
                           "https://[::1",
                           "https://[x]",
                           "*.a",
                           "~https://a",
                           "https://" + std::string(254, 'a')});
}

TEST(NginxValuesTest, AWildcardStandsForTheSubdomainsAlone) {
  EXPECT_TRUE(IsWildcard("https://*.example.org"));
  EXPECT_FALSE(IsWildcard("*"));
  EXPECT_FALSE(IsWildcard("https://example.org"));
  const std::regex pattern(OriginPattern("https://*.example.org"));
  for (const char* origin : {"https://a.example.org", "https://a-1.b_2.example.org",
                             "https://x.y.z.example.org", "https://www.example.org"}) {
    EXPECT_TRUE(std::regex_search(origin, pattern)) << origin;
  }
  for (const char* origin :
       {"https://example.org", "https://evilexample.org", "http://a.example.org",
        "https://a.example.org.evil.net", "https://a.example.org:8443", "https://.example.org",
        "https://a..example.org", "https://a.examplexorg", "https://evil.net/.example.org",
        "https://evil.net#.example.org", "https://u@a.example.org", "xhttps://a.example.org",
        "https://A.example.org", "https://a.example.orgx", ""}) {
    EXPECT_FALSE(std::regex_search(origin, pattern)) << origin;
  }
  const std::regex with_port(OriginPattern("http://*.localhost:3000"));
  EXPECT_TRUE(std::regex_search("http://app.localhost:3000", with_port));
  EXPECT_FALSE(std::regex_search("http://app.localhost", with_port));
  EXPECT_FALSE(std::regex_search("http://app.localhost:30000", with_port));
}

TEST(NginxValuesTest, HeaderNames) {
  ExpectTaken(IsHeaderName, {"*", "baggage", "X-Requested-With", "x_y", "b3"});
  ExpectRefused(IsHeaderName, {"", "a b", "a,b", "a:", "a.b", "**", "x*", "\"", "$host", "a;b",
                               "\xc3\xa4", std::string(65, 'a')});
}

TEST(NginxValuesTest, BasePaths) {
  ExpectTaken(IsBasePath, {"", "/vision", "/apps/vision.2", "/a-b_C", "/vision/v1", "/v1x"});
  ExpectRefused(IsBasePath, {"/",          "vision",
                             "/vision/",   "//vision",
                             "/a//b",      "/..",
                             "/a/../b",    "/.",
                             "/v1",        "/v1/models",
                             "/v2",        "/predict/a",
                             "/docs",      "/livez",
                             "/readyz",    "/metrics",
                             "/a b",       "/a%20b",
                             "/a?b",       "/openapi.json",
                             "/pool.json", "/a;b",
                             "/$a",        "/\"",
                             "/\xc3\xa4",  "/" + std::string(254, 'a')});
  EXPECT_EQ(Escaped("/vision.2/a-b"), "/vision\\.2/a-b");
}

TEST(NginxValuesTest, Networks) {
  ExpectTaken(IsNetwork, {"127.0.0.1", "10.0.0.0/8", "0.0.0.0/0", "::1", "2001:db8::/32", "::/0"});
  ExpectRefused(IsNetwork, {"", "all", "localhost", "10.0.0.0/33", "::/129", "10.0.0.0/", "10/8",
                            "10.0.0.0/8/8", "1.2.3.4:80", "[::1]", "unix:"});
}

TEST(NginxValuesTest, AddressesWithAPort) {
  ExpectTaken(IsAddressAndPort, {"127.0.0.1:9000", "0.0.0.0:1", "[::]:65535", "[::1]:80"});
  ExpectRefused(IsAddressAndPort, {"", "127.0.0.1", ":9000", "localhost:9000", "::1:80", "[::1]",
                                   "127.0.0.1:0", "127.0.0.1:65536", "127.0.0.1:x", "1.1:80"});
}

TEST(NginxValuesTest, HostsWithAPort) {
  ExpectTaken(IsHostAndPort,
              {"localhost:9090", "pool-1.example.org:9000", "10.0.0.1:1", "[::1]:1"});
  ExpectRefused(IsHostAndPort, {"", "localhost", "localhost:", ":1", "a b:1", "-a:1", "::1:1"});
}

TEST(NginxValuesTest, Resolvers) {
  ExpectTaken(IsResolver, {"10.0.0.53", "10.0.0.53:53", "[::1]", "[::1]:53"});
  ExpectRefused(IsResolver, {"", "dns.example.org", "::1", "10.0.0.53 valid=1s", "10.0.0.53:"});
}

TEST(NginxValuesTest, Pools) {
  ExpectTaken(IsPool,
              {"unix:/run/inferpool/inferpool.sock", "unix:/with space/a.sock", "10.0.0.7:9000",
               "pool-2:9000", "[2001:db8::1]:9000", "unix:/" + std::string(106, 's')});
  ExpectRefused(IsPool, {"", "unix:", "unix:relative", "unix:/a:b", "/run/pool.sock", "pool",
                         "unix:/" + std::string(107, 's')});
}

// Whatever means something to nginx's parser.
TEST(NginxValuesTest, NothingCanBeAddedToNginxsConfiguration) {
  for (const std::string& bad :
       Texts{"\"", "'", ";", "{", "}", "$x", "\\", "\n", "\r", "\t", "#", std::string(1, '\0')}) {
    for (const std::string& good :
         Texts{"https://a", "10.0.0.0/8", "10.0.0.1:80", "a:80", "unix:/a", "example.org"}) {
      for (const std::string& text :
           {good + bad, bad + good, good.substr(0, 3) + bad + good.substr(3)}) {
        for (const auto is_allowed :
             {IsServerName, IsOrigin, IsNetwork, IsAddressAndPort, IsHostAndPort, IsResolver}) {
          EXPECT_FALSE(is_allowed(text)) << text;
        }
      }
    }
  }
  for (const std::string& bad : Texts{"\"", ";", "{", "}", "$x", "\\"}) {
    EXPECT_FALSE(IsPath("/a" + bad)) << bad;
    EXPECT_FALSE(IsPool("unix:/a" + bad)) << bad;
  }
  EXPECT_TRUE(IsPath("/with space/#hash/it's/100%41?/Z\u00fcrich")) << "between quotes";
}

}  // namespace
}  // namespace inferpool::nginx_values
