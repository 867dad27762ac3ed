"""A real Chromium without a window, with a camera that it makes up itself."""

import os
import shutil
import tempfile
import time
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By

from processes import eventually


class _Service(Service):
    """chromedriver, which dies with us."""

    def command_line_args(self):
        return ["--pdeathsig", "TERM", "--", shutil.which("chromedriver"), *super().command_line_args()]


def _mortal_chromium(folder):
    """A program that is Chromium and dies with its driver."""
    program = Path(folder) / "chromium"
    program.write_text(f'#!/bin/sh\nexec setpriv --pdeathsig TERM -- {shutil.which("chromium")} "$@"\n')
    program.chmod(0o755)
    return str(program)


class Browser:
    def __init__(self):
        self.folder = tempfile.TemporaryDirectory()
        options = webdriver.ChromeOptions()
        options.binary_location = _mortal_chromium(self.folder.name)
        for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu",
                         "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"):
            options.add_argument(argument)
        options.set_capability("acceptInsecureCerts", True)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        service = _Service(shutil.which("setpriv"), env={**os.environ, "TMPDIR": self.folder.name})
        self.driver = webdriver.Chrome(service=service, options=options)

    def quit(self):
        self.driver.quit()
        self.folder.cleanup()

    def command(self, name, **parameters):
        """Of the DevTools protocol."""
        return self.driver.execute_cdp_cmd(name, parameters)

    def open(self, url, width=1280, height=800, **media):
        """A page as for the first time, with media features such as prefers_color_scheme="dark"."""
        self.driver.get("about:blank")
        self.complaints()
        self.command("Storage.clearDataForOrigin", origin=url[:url.index("/", 8)], storageTypes="all")
        self.command("Emulation.setEmulatedMedia", features=[
            {"name": name.replace("_", "-"), "value": value} for name, value in media.items()])
        self.resize(width, height)
        self.driver.get(url)

    def resize(self, width, height):
        phone = width < 500
        self.command("Emulation.setDeviceMetricsOverride", width=width, height=height,
                     deviceScaleFactor=1, mobile=phone)
        self.command("Emulation.setTouchEmulationEnabled", enabled=phone)

    def complaints(self):
        """What stands in the console since the last call: errors, warnings, breaches of the CSP."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def run(self, script, *arguments):
        """The body of a function, with `arguments`; the promise that it returns is waited for."""
        return self.driver.execute_async_script(
            "const done = arguments[arguments.length - 1];"
            f"(async function () {{ {script} }}).apply(null, arguments)"
            ".then((value) => done([value]), (error) => done(String(error)))", *arguments)[0]

    def one(self, name):
        """The element of that id."""
        return self.driver.find_element(By.ID, name)

    def all(self, selector):
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def text(self, name):
        return self.one(name).text

    def wait(self, condition, what):
        return eventually(condition, what, pause_s=0.05)

    def press(self, *keys):
        """To whatever has the focus."""
        for key in keys:
            self.driver.switch_to.active_element.send_keys(key)

    def screenshot(self, file):
        """Of the whole page."""
        time.sleep(0.3)  # what moves has arrived
        width, height = self.run("return [innerWidth, document.documentElement.scrollHeight]")
        self.resize(width, height)
        self.driver.save_screenshot(str(file))
