# The server as one small image. State lives in the volume at /data.
FROM python:3.12-slim

ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /srv

RUN useradd --uid 10001 --no-create-home --home-dir /data --shell /usr/sbin/nologin flarelay
RUN install -d -o flarelay -g flarelay /data

COPY requirements.lock ./
RUN python -m pip install --require-hashes -r requirements.lock

COPY app ./app
RUN python -m compileall -q app

USER flarelay
ENV HOST=0.0.0.0 PORT=8000 DATA_DIR=/data
EXPOSE 8000
VOLUME /data
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s \
    CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen(f\"http://127.0.0.1:{os.environ['PORT']}/health\", timeout=4)"]
STOPSIGNAL SIGTERM
CMD ["python", "-m", "app"]
