FROM python:3.11-slim

# The CPU build of torch: the default Linux wheel brings gigabytes of CUDA that nothing here uses.
COPY requirements.txt /tmp/
RUN pip install --no-cache-dir torch==2.13.0 --index-url https://download.pytorch.org/whl/cpu \
    && pip install --no-cache-dir -r /tmp/requirements.txt

RUN useradd --create-home --uid 1000 upfront
USER upfront
WORKDIR /home/upfront/app
COPY --chown=upfront . .

ENV GRADIO_SERVER_NAME=0.0.0.0 PYTHONUNBUFFERED=1 \
    GRADIO_ANALYTICS_ENABLED=False HF_HUB_DISABLE_TELEMETRY=1 ORT_DISABLE_TELEMETRY=1
EXPOSE 7860
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:7860/healthz', timeout=4)"]
CMD ["python", "app.py"]
