<?php // The night of a clinic's system on PHP's ext-soap: sends its list, reads the protocol, orders the list, collects it.
[$url, $login, $password, $in, $out] = array_map('getenv', ['URL', 'LOGIN', 'PASSWORD', 'IN', 'OUT']);
[$year, $month] = array_map(fn($name) => (int) getenv($name), ['YEAR', 'MONTH']);
const OPTIONS = ['cache_wsdl' => WSDL_CACHE_NONE, 'features' => SOAP_SINGLE_ELEMENT_ARRAYS, 'keep_alive' => true];
const WSSE = 'http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd';
const PIECE = 1 << 20;

function secured(string $wsdl, string $login, string $password): SoapClient {
    $token = '<wsse:Security xmlns:wsse="' . WSSE . '"><wsse:UsernameToken><wsse:Username>' . htmlspecialchars($login)
        . '</wsse:Username><wsse:Password>' . htmlspecialchars($password) . '</wsse:Password></wsse:UsernameToken></wsse:Security>';
    $client = new SoapClient($wsdl, OPTIONS);
    $client->__setSoapHeaders(new SoapHeader(WSSE, 'Security', new SoapVar($token, XSD_ANYXML)));
    return $client;
}

function request(array $fields): array {
    $hex = bin2hex(random_bytes(16));
    $parts = [substr($hex, 0, 8), substr($hex, 8, 4), substr($hex, 12, 4), substr($hex, 16, 4), substr($hex, 20)];
    return ['requestId' => implode('-', $parts)] + $fields;
}

function followed(SoapClient $exchange, string $id): object {
    do {
        usleep(200000);
        $answer = $exchange->GetOperation(['operationId' => $id]);
    } while (in_array($answer->operation->state, ['QUEUED', 'RUNNING']));
    return $answer;
}

function collected(SoapClient $exchange, object $file, string $folder): void {
    $target = fopen("$folder/$file->fileName", 'wb');
    $offset = 0;
    do {
        $part = $exchange->GetFile(['fileId' => $file->fileId, 'offset' => $offset, 'length' => PIECE]);
        fwrite($target, $part->content);
        $offset += strlen($part->content);
    } while ($part->more);
    fclose($target);
    if (hash_file('sha256', "$folder/$file->fileName") !== $file->sha256) {
        throw new RuntimeException("$file->fileName: контрольная сумма");
    }
}

$exchange = secured("$url/soap/exchange/v1?wsdl", $login, $password);
$lists = secured("$url/soap/observation/v1?wsdl", $login, $password);

$source = fopen($in, 'rb');
$fileId = null;
while (($piece = fread($source, PIECE)) !== '' && $piece !== false) {
    $part = ['fileName' => basename($in), 'offset' => ftell($source) - strlen($piece), 'content' => $piece, 'last' => ftell($source) >= filesize($in)];
    $fileId = $exchange->PutFilePart(request(($fileId ? ['fileId' => $fileId] : []) + $part))->fileId;
}
$upload = followed($exchange, $lists->UploadList(request(['fileId' => $fileId]))->operationId);
foreach ($upload->files as $file) {
    collected($exchange, $file, "$out/protocol");
}
$choice = ['year' => $year, 'month' => $month, 'listType' => 'OBSERVED', 'recordsPerFile' => 1000, 'delivery' => 'MAILBOX', 'format' => 'XML'];
$export = followed($exchange, $lists->ExportList(request($choice))->operationId);
$first = 1;
do {
    $page = $exchange->ListFiles(['startRecord' => $first, 'recordCount' => 50]);
    foreach ($page->files ?? [] as $file) {
        if ($file->kind === 'EXPORT') {
            collected($exchange, $file, "$out/list");
            $exchange->ConfirmFile(request(['fileId' => $file->fileId]));
        }
    }
    $first += $page->returnedRecords;
} while ($first <= $page->totalRecords);
echo json_encode(['upload' => $upload->operation->state, 'export' => $export->operation->state]);
