// `inferpool predict`: a client for the command line.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

namespace inferpool::ops {

struct PredictCommand {
  std::vector<std::string> pictures;
  std::string model;
  std::string url = "https://localhost:8443";
  std::string draw;    // file for the picture with its boxes; empty: none
  std::string cacert;  // PEM file of the certificate to trust; empty: the system's
  bool insecure = false;
  bool json = false;
};

void AddPredictOptions(CLI::App& command, PredictCommand& options);

// Sends each picture and prints its detections. Returns 0 when every picture was answered with 200.
int Predict(const PredictCommand& options);

}  // namespace inferpool::ops
